using System;
using System.Threading.Tasks;
using Npgsql;

namespace PgqueueSample
{
    /// <summary>Hearing back: by notification, and by the feed. A Python worker would run the jobs; here StandIn does.</summary>
    public static class HearingSteps
    {
        public static async Task Run(NpgsqlDataSource source, string queue, FinishedJobs finished)
        {
            using (var connection = await source.OpenConnectionAsync())
            {
                var feed = "sample-" + Guid.NewGuid().ToString("N");
                Guid id;
                const string sql = "insert into pgqueue.inbox (job_type, queue, payload, notify, feed) values ('add', @queue, '{}', true, @feed) returning id";
                using (var command = new NpgsqlCommand(sql, connection))
                {
                    command.Parameters.AddWithValue("queue", queue);
                    command.Parameters.AddWithValue("feed", feed);
                    id = (Guid)await command.ExecuteScalarAsync();
                }
                var waiting = finished.WaitFor(id, TimeSpan.FromSeconds(30));
                await StandIn.Complete(connection, queue, id);
                Check.Equal("succeeded", await waiting, "the hosted service hears of it");

                long completion;
                const string take = "select completion_id, job_id, status from pgqueue.take_completions(@feed, 10)";
                using (var command = new NpgsqlCommand(take, connection))
                {
                    command.Parameters.AddWithValue("feed", feed);
                    using (var reader = await command.ExecuteReaderAsync())
                    {
                        Check.Equal(true, await reader.ReadAsync(), "the feed has a completion");
                        completion = reader.GetInt64(0);
                        Check.Equal(id, reader.GetGuid(1), "of this job");
                        Check.Equal("succeeded", reader.GetString(2), "with its status");
                    }
                }
                using (var command = new NpgsqlCommand("select pgqueue.ack_completions(@feed, @ids)", connection))
                {
                    command.Parameters.AddWithValue("feed", feed);
                    command.Parameters.AddWithValue("ids", new[] { completion });
                    Check.Equal(1L, (long)await command.ExecuteScalarAsync(), "which is acknowledged");
                }
            }
        }
    }

    /// <summary>What a Python worker does, for one job.</summary>
    static class StandIn
    {
        public static async Task Complete(NpgsqlConnection connection, string queue, Guid id)
        {
            long worker;
            using (var command = new NpgsqlCommand("select pgqueue.register_worker('sample', array[@queue])", connection))
            {
                command.Parameters.AddWithValue("queue", queue);
                worker = (long)await command.ExecuteScalarAsync();
            }
            long token;
            using (var command = new NpgsqlCommand("select token from pgqueue.claim_job(@worker, @id)", connection))
            {
                command.Parameters.AddWithValue("worker", worker);
                command.Parameters.AddWithValue("id", id);
                token = (long)await command.ExecuteScalarAsync();
            }
            using (var command = new NpgsqlCommand("select pgqueue.complete(@id, @token)", connection))
            {
                command.Parameters.AddWithValue("id", id);
                command.Parameters.AddWithValue("token", token);
                await command.ExecuteNonQueryAsync();
            }
            using (var command = new NpgsqlCommand("select pgqueue.stop_worker(@worker)", connection))
            {
                command.Parameters.AddWithValue("worker", worker);
                await command.ExecuteNonQueryAsync();
            }
        }
    }
}
