using System;
using System.Collections.Concurrent;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.Extensions.Hosting;
using Npgsql;

namespace PgqueueSample
{
    /// <summary>
    /// Hears that jobs have finished. One connection for the whole application, never returned to the pool while it listens:
    /// LISTEN first, then look at all that is waited for, then wait; again after each reconnect, and now and then in between,
    /// for a notification is only a hint. Not through PgBouncer in transaction mode.
    /// </summary>
    public sealed class FinishedJobs : BackgroundService
    {
        static readonly string[] Ends = { "succeeded", "partial", "failed", "cancelled" };
        static readonly TimeSpan LookAnyway = TimeSpan.FromSeconds(10);
        static readonly TimeSpan BeforeReconnect = TimeSpan.FromSeconds(1);

        readonly ConcurrentDictionary<Guid, TaskCompletionSource<string>> waiting =
            new ConcurrentDictionary<Guid, TaskCompletionSource<string>>();
        readonly NpgsqlDataSource source;

        public FinishedJobs(NpgsqlDataSource source)
        {
            this.source = source;
        }

        /// <summary>The status with which the job ends. Its insert has set notify, and has committed.</summary>
        public async Task<string> WaitFor(Guid id, TimeSpan timeout)
        {
            var mine = waiting.GetOrAdd(id, _ => new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously));
            await Look(new[] { id }, CancellationToken.None);
            var first = await Task.WhenAny(mine.Task, Task.Delay(timeout));
            TaskCompletionSource<string> gone;
            waiting.TryRemove(id, out gone);
            if (first != mine.Task)
            {
                throw new TimeoutException("job " + id + " has not finished in time; it goes on");
            }
            return await mine.Task;
        }

        protected override async Task ExecuteAsync(CancellationToken stopping)
        {
            while (!stopping.IsCancellationRequested)
            {
                try
                {
                    await Listen(stopping);
                }
                catch (OperationCanceledException)
                {
                    return;
                }
                catch (Exception problem) when (problem is NpgsqlException || problem is TimeoutException)
                {
                    Console.Error.WriteLine("listener: " + problem.Message);
                    await Task.Delay(BeforeReconnect, stopping);
                }
            }
        }

        async Task Listen(CancellationToken stopping)
        {
            using (var connection = await source.OpenConnectionAsync(stopping))
            {
                // The payload is ids, joined by commas. Anybody can NOTIFY: what is no id that we wait for means nothing,
                // and what is one is looked up.
                var named = new ConcurrentQueue<Guid>();
                connection.Notification += (_, notification) =>
                {
                    foreach (var text in notification.Payload.Split(','))
                    {
                        Guid id;
                        if (Guid.TryParse(text, out id) && waiting.ContainsKey(id))
                        {
                            named.Enqueue(id);
                        }
                    }
                };
                using (var command = new NpgsqlCommand("listen pgqueue_finished", connection))
                {
                    await command.ExecuteNonQueryAsync(stopping);
                }
                await Look(waiting.Keys.ToArray(), stopping);
                while (true)
                {
                    // True: a notification came, and its handler has run. False: nothing came; look at all anyway.
                    var came = await connection.WaitAsync(LookAnyway, stopping);
                    await Look(came ? named.ToArray() : waiting.Keys.ToArray(), stopping);
                    named.Clear();
                }
            }
        }

        async Task Look(Guid[] ids, CancellationToken stopping)
        {
            if (ids.Length == 0)
            {
                return;
            }
            using (var connection = await source.OpenConnectionAsync(stopping))
            using (var command = new NpgsqlCommand("select id, status from pgqueue.job_status where id = any($1)", connection))
            {
                command.Parameters.Add(new NpgsqlParameter { Value = ids });
                using (var reader = await command.ExecuteReaderAsync(stopping))
                {
                    while (await reader.ReadAsync(stopping))
                    {
                        TaskCompletionSource<string> one;
                        if (Ends.Contains(reader.GetString(1)) && waiting.TryGetValue(reader.GetGuid(0), out one))
                        {
                            one.TrySetResult(reader.GetString(1));
                        }
                    }
                }
            }
        }
    }
}
