using System;
using System.Linq;
using System.Text.Json;
using System.Threading.Tasks;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace PgqueueSample
{
    /// <summary>EF Core: one entity for the insert, a keyless one for the view.</summary>
    public sealed class QueueContext : DbContext
    {
        readonly NpgsqlDataSource source;

        public QueueContext(NpgsqlDataSource source)
        {
            this.source = source;
        }

        public DbSet<NewJob> NewJobs { get; set; }
        public DbSet<JobStatus> JobStatuses { get; set; }

        protected override void OnConfiguring(DbContextOptionsBuilder options)
        {
            options.UseNpgsql(source);
        }

        protected override void OnModelCreating(ModelBuilder model)
        {
            model.Entity<NewJob>(job =>
            {
                // ToTable, though it is a view: EF writes to no ToView.
                job.ToTable("inbox", "pgqueue", table => table.ExcludeFromMigrations());
                job.HasKey(x => x.Id);
                // With a default in SQL, EF draws no id of its own and reads back the one that serves the request.
                job.Property(x => x.Id).HasColumnName("id").HasDefaultValueSql("null");
                job.Property(x => x.JobType).HasColumnName("job_type");
                job.Property(x => x.Queue).HasColumnName("queue");
                job.Property(x => x.Payload).HasColumnName("payload");
                job.Property(x => x.RunAt).HasColumnName("run_at");
                job.Property(x => x.MaxAttempts).HasColumnName("max_attempts");
                job.Property(x => x.IdempotencyKey).HasColumnName("idempotency_key");
                job.Property(x => x.Notify).HasColumnName("notify");
                job.Property(x => x.Inserted).HasColumnName("inserted").ValueGeneratedOnAdd();
                job.Property(x => x.Status).HasColumnName("status").ValueGeneratedOnAdd();
            });
            model.Entity<JobStatus>(job =>
            {
                job.ToView("job_status", "pgqueue");
                job.HasNoKey();
                job.Property(x => x.Id).HasColumnName("id");
                job.Property(x => x.Status).HasColumnName("status");
                job.Property(x => x.Result).HasColumnName("result").HasColumnType("jsonb");
                job.Property(x => x.FinishedAt).HasColumnName("finished_at");
            });
        }
    }

    public sealed class NewJob
    {
        public Guid Id { get; set; }
        public string JobType { get; set; }
        public string Queue { get; set; }
        public string Payload { get; set; }
        public DateTime RunAt { get; set; }
        public int MaxAttempts { get; set; }
        public string IdempotencyKey { get; set; }
        public bool Notify { get; set; }
        public bool? Inserted { get; set; }
        public string Status { get; set; }
    }

    public sealed class JobStatus
    {
        public Guid Id { get; set; }
        public string Status { get; set; }
        public string Result { get; set; }
        public DateTime? FinishedAt { get; set; }
    }

    public static class EfSteps
    {
        public static async Task Run(NpgsqlDataSource source, string queue)
        {
            var key = "order-" + Guid.NewGuid();
            var first = await Enqueue(source, queue, key);
            var second = await Enqueue(source, queue, key);
            Check.Equal(true, first.Inserted, "EF: a new job");
            Check.Equal("queued", first.Status, "EF: unset properties mean default");
            Check.Equal(false, second.Inserted, "EF: the same key");
            Check.Equal(first.Id, second.Id, "EF: is the same job");

            using (var context = new QueueContext(source))
            using (var transaction = await context.Database.BeginTransactionAsync())
            {
                // ... your own entities, in the same SaveChanges ...
                var job = NewJob(queue, null);
                context.NewJobs.Add(job);
                context.NewJobs.Add(NewJob(queue, null));
                await context.SaveChangesAsync();
                await transaction.RollbackAsync();
                Check.Equal(0, await context.JobStatuses.CountAsync(x => x.Id == job.Id), "EF: a rolled back job is gone");
            }
            using (var context = new QueueContext(source))
            {
                var seen = await context.JobStatuses.Where(x => x.Id == first.Id).SingleAsync();
                Check.Equal("queued", seen.Status, "EF: the view can be queried");
                context.NewJobs.Add(new NewJob { JobType = "add", Queue = queue, Payload = "[]" });
                var problem = await Failure(context);
                Check.Equal("jobs_payload_check", problem.ConstraintName, "EF: a refusal is the InnerException");
            }
        }

        static async Task<NewJob> Enqueue(NpgsqlDataSource source, string queue, string key)
        {
            using (var context = new QueueContext(source))
            {
                var job = NewJob(queue, key);
                context.NewJobs.Add(job);
                await context.SaveChangesAsync();
                return job;
            }
        }

        static NewJob NewJob(string queue, string key)
        {
            var payload = JsonSerializer.Serialize(new Addition { A = 1, B = 2 });
            return new NewJob { JobType = "add", Queue = queue, Payload = payload, IdempotencyKey = key };
        }

        static async Task<PostgresException> Failure(DbContext context)
        {
            try
            {
                await context.SaveChangesAsync();
            }
            catch (DbUpdateException problem)
            {
                return (PostgresException)problem.InnerException;
            }
            throw new InvalidOperationException("it was not refused");
        }
    }
}
