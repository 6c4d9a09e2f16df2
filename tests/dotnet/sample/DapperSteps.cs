using System;
using System.Text.Json;
using System.Threading.Tasks;
using Dapper;
using Npgsql;

namespace PgqueueSample
{
    /// <summary>Dapper, through the inbox: no cast, and always one row back.</summary>
    public static class DapperSteps
    {
        const string Insert =
            "insert into pgqueue.inbox (job_type, queue, payload, idempotency_key, run_at) " +
            "values (@JobType, @Queue, @Payload, @Key, now() + @Delay) returning id, inserted, status";

        public static async Task Run(NpgsqlDataSource source, string queue)
        {
            using (var connection = await source.OpenConnectionAsync())
            {
                var job = new
                {
                    JobType = "add",
                    Queue = queue,
                    Payload = JsonSerializer.Serialize(new Addition { A = 1, B = 2 }),
                    Key = "order-" + Guid.NewGuid(),
                    Delay = TimeSpan.FromHours(1),
                };
                var first = await connection.QuerySingleAsync<Enqueued>(Insert, job);
                var second = await connection.QuerySingleAsync<Enqueued>(Insert, job);
                Check.Equal(true, first.Inserted, "Dapper: a new job");
                Check.Equal("scheduled", first.Status, "Dapper: that waits for its time");
                Check.Equal(false, second.Inserted, "Dapper: the same key");
                Check.Equal(first.Id, second.Id, "Dapper: is the same job");

                // A null string is fine here; Dapper sends it as text.
                var nothing = await connection.QuerySingleAsync<Enqueued>(Insert,
                    new { JobType = "add", Queue = queue, Payload = (string)null, Key = (string)null, Delay = TimeSpan.Zero });
                Check.Equal(true, nothing.Inserted, "Dapper: null means default");
                await connection.ExecuteAsync("select pgqueue.cancel(@Id, 'not needed')", new { first.Id });
                Check.Equal("cancelled", await NpgsqlSteps.Status(connection, first.Id), "Dapper: cancelled by function");
            }
        }
    }

    public sealed class Enqueued
    {
        public Guid Id { get; set; }
        public bool Inserted { get; set; }
        public string Status { get; set; }
    }
}
