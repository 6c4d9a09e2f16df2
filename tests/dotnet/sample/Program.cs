using System;
using System.Threading.Tasks;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Npgsql;

namespace PgqueueSample
{
    /// <summary>
    /// Enqueues with Npgsql, Dapper and EF Core, and hears back. One argument: the connection string. The login must be
    /// allowed to enqueue and, as there is no Python worker here, to claim and complete (the schema's owner is).
    /// Exits with 0 only if every step behaved.
    /// </summary>
    public static class Program
    {
        public static async Task<int> Main(string[] args)
        {
            if (args.Length != 1)
            {
                Console.Error.WriteLine("usage: dotnet run CONNECTION_STRING");
                return 2;
            }
            var builder = Host.CreateApplicationBuilder();
            builder.Services.AddSingleton(NpgsqlDataSource.Create(args[0]));
            builder.Services.AddSingleton<FinishedJobs>();
            builder.Services.AddHostedService(services => services.GetRequiredService<FinishedJobs>());
            using (var host = builder.Build())
            {
                await host.StartAsync();
                try
                {
                    var source = host.Services.GetRequiredService<NpgsqlDataSource>();
                    var finished = host.Services.GetRequiredService<FinishedJobs>();
                    // A queue of its own: no other worker takes these jobs.
                    var queue = "sample-" + Guid.NewGuid().ToString("N");
                    await NpgsqlSteps.Run(source, queue);
                    await DapperSteps.Run(source, queue);
                    await EfSteps.Run(source, queue);
                    await HearingSteps.Run(source, queue, finished);
                    WebhookSteps.Run();
                }
                catch (Exception problem)
                {
                    Console.Error.WriteLine("FAILED: " + problem);
                    return 1;
                }
                finally
                {
                    await host.StopAsync();
                }
            }
            Console.WriteLine("every step behaved");
            return 0;
        }
    }

    public static class Check
    {
        public static void Equal<T>(T expected, T actual, string what)
        {
            if (!Equals(expected, actual))
            {
                throw new InvalidOperationException(what + ": expected " + expected + ", got " + actual);
            }
            Console.WriteLine("ok: " + what);
        }

        /// <summary>The refusal that the action must meet: branch on SqlState and ConstraintName.</summary>
        public static async Task<PostgresException> Refused(Func<Task> action)
        {
            try
            {
                await action();
            }
            catch (PostgresException refusal)
            {
                return refusal;
            }
            throw new InvalidOperationException("it was not refused");
        }
    }
}
