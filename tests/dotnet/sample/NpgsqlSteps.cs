using System;
using System.Text.Json;
using System.Threading.Tasks;
using Npgsql;
using NpgsqlTypes;

namespace PgqueueSample
{
    /// <summary>Plain Npgsql: the job commits with your own rows, or not at all.</summary>
    public static class NpgsqlSteps
    {
        public static async Task Run(NpgsqlDataSource source, string queue)
        {
            using (var connection = await source.OpenConnectionAsync())
            {
                await CommitAndRollback(connection, queue);
                await Strings(connection, queue);
                await Duplicates(connection, queue);
                await Refusals(connection, queue);
            }
        }

        static async Task CommitAndRollback(NpgsqlConnection connection, string queue)
        {
            Guid lost;
            using (var transaction = await connection.BeginTransactionAsync())
            {
                lost = await Enqueue(connection, transaction, queue, null);
                await transaction.RollbackAsync();
            }
            Guid kept;
            using (var transaction = await connection.BeginTransactionAsync())
            {
                // ... your own writes, on the same connection and transaction ...
                kept = await Enqueue(connection, transaction, queue, null);
                await transaction.CommitAsync();
            }
            Check.Equal(null, await Status(connection, lost), "a rolled back job is gone");
            Check.Equal("queued", await Status(connection, kept), "a committed job waits");
        }

        /// <summary>The table: the payload is jsonb, so the parameter's type is named.</summary>
        static async Task<Guid> Enqueue(NpgsqlConnection connection, NpgsqlTransaction transaction, string queue, string key)
        {
            const string sql = "insert into pgqueue.jobs (job_type, queue, payload, idempotency_key) values ($1, $2, $3, $4) returning id";
            using (var command = new NpgsqlCommand(sql, connection, transaction))
            {
                command.Parameters.Add(new NpgsqlParameter { Value = "add" });
                command.Parameters.Add(new NpgsqlParameter { Value = queue });
                command.Parameters.Add(new NpgsqlParameter { Value = JsonSerializer.Serialize(new Addition { A = 1, B = 2 }), NpgsqlDbType = NpgsqlDbType.Jsonb });
                command.Parameters.Add(new NpgsqlParameter { Value = (object)key ?? DBNull.Value });
                return (Guid)await command.ExecuteScalarAsync();
            }
        }

        /// <summary>The inbox: strings and default(DateTime) will do.</summary>
        static async Task Strings(NpgsqlConnection connection, string queue)
        {
            const string sql = "insert into pgqueue.inbox (job_type, queue, payload, run_at, max_attempts) values (@type, @queue, @payload, @at, @attempts) returning status";
            using (var command = new NpgsqlCommand(sql, connection))
            {
                command.Parameters.AddWithValue("type", "add");
                command.Parameters.AddWithValue("queue", queue);
                command.Parameters.AddWithValue("payload", JsonSerializer.Serialize(new Addition { A = 1, B = 2 }));
                command.Parameters.AddWithValue("at", default(DateTime));
                command.Parameters.AddWithValue("attempts", 0);
                Check.Equal("queued", (string)await command.ExecuteScalarAsync(), "zero values mean default");
            }
        }

        static async Task Duplicates(NpgsqlConnection connection, string queue)
        {
            var key = "order-" + Guid.NewGuid();
            await Enqueue(connection, null, queue, key);
            var refusal = await Check.Refused(() => Enqueue(connection, null, queue, key));
            Check.Equal(PostgresErrorCodes.UniqueViolation, refusal.SqlState, "the table refuses a second key");
            Check.Equal("jobs_idempotency_key", refusal.ConstraintName, "by name");
        }

        static async Task Refusals(NpgsqlConnection connection, string queue)
        {
            var refusal = await Check.Refused(() => Execute(connection, "insert into pgqueue.inbox (job_type, queue, payload) values ('add', @value, '[]')", queue));
            Check.Equal("jobs_payload_check", refusal.ConstraintName, "a payload that is no object");
            refusal = await Check.Refused(() => Execute(connection, "insert into pgqueue.jobs (job_type, payload) values ('add', @value)", "{}"));
            Check.Equal("42804", refusal.SqlState, "text is not jsonb");
            Check.Equal(false, refusal.IsTransient, "nobody should try that again");
        }

        static async Task Execute(NpgsqlConnection connection, string sql, string value)
        {
            using (var command = new NpgsqlCommand(sql, connection))
            {
                command.Parameters.AddWithValue("value", value);
                await command.ExecuteNonQueryAsync();
            }
        }

        public static async Task<string> Status(NpgsqlConnection connection, Guid id)
        {
            using (var command = new NpgsqlCommand("select status from pgqueue.job_status where id = $1", connection))
            {
                command.Parameters.Add(new NpgsqlParameter { Value = id });
                return (string)await command.ExecuteScalarAsync();
            }
        }
    }

    /// <summary>A payload. System.Text.Json writes "A"; the Python handler's parameter a finds it.</summary>
    public sealed class Addition
    {
        public int A { get; set; }
        public int B { get; set; }
    }
}
