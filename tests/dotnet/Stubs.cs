// The signatures that the sample uses, of packages that Mono does not have: with them mcs checks its grammar, names and
// types. They are written from the packages' documentation; only `dotnet build` checks them.
using System;
using System.Collections.Generic;
using System.Linq;
using System.Linq.Expressions;
using System.Threading;
using System.Threading.Tasks;

namespace System.Text.Json
{
    public static class JsonSerializer { public static string Serialize<T>(T value) { return ""; } }
}

namespace Microsoft.Extensions.DependencyInjection
{
    public interface IServiceCollection { }

    public static class Services
    {
        public static IServiceCollection AddSingleton<T>(this IServiceCollection to) where T : class { return to; }
        public static IServiceCollection AddSingleton<T>(this IServiceCollection to, T instance) where T : class { return to; }
        public static T GetRequiredService<T>(this IServiceProvider from) { return default(T); }

        public static IServiceCollection AddHostedService<T>(this IServiceCollection to, Func<IServiceProvider, T> make)
            where T : class, Microsoft.Extensions.Hosting.IHostedService { return to; }
    }
}

namespace Microsoft.Extensions.Hosting
{
    using Microsoft.Extensions.DependencyInjection;

    public interface IHostedService { }

    public interface IHost : IDisposable
    {
        IServiceProvider Services { get; }
        Task StartAsync(CancellationToken stopping = default(CancellationToken));
        Task StopAsync(CancellationToken stopping = default(CancellationToken));
    }

    public sealed class HostApplicationBuilder
    {
        public IServiceCollection Services { get { return null; } }
        public IHost Build() { return null; }
    }

    public static class Host { public static HostApplicationBuilder CreateApplicationBuilder() { return null; } }

    public abstract class BackgroundService : IHostedService { protected abstract Task ExecuteAsync(CancellationToken stoppingToken); }
}

namespace NpgsqlTypes
{
    public enum NpgsqlDbType { Jsonb }
}

namespace Npgsql
{
    public static class PostgresErrorCodes { public const string UniqueViolation = "23505"; }

    public class NpgsqlException : Exception { public virtual bool IsTransient { get { return false; } } }

    public sealed class PostgresException : NpgsqlException
    {
        public string SqlState { get { return ""; } }
        public string ConstraintName { get { return ""; } }
    }

    public sealed class NpgsqlNotificationEventArgs : EventArgs { public string Payload { get { return ""; } } }
    public delegate void NotificationEventHandler(object sender, NpgsqlNotificationEventArgs e);

    public sealed class NpgsqlDataSource : IDisposable
    {
        public static NpgsqlDataSource Create(string connectionString) { return null; }
        public Task<NpgsqlConnection> OpenConnectionAsync(CancellationToken stopping = default(CancellationToken)) { return null; }
        public void Dispose() { }
    }

    public sealed class NpgsqlTransaction : IDisposable
    {
        public Task CommitAsync(CancellationToken stopping = default(CancellationToken)) { return null; }
        public Task RollbackAsync(CancellationToken stopping = default(CancellationToken)) { return null; }
        public void Dispose() { }
    }

    public sealed class NpgsqlConnection : IDisposable
    {
        public event NotificationEventHandler Notification { add { } remove { } }
        public Task<NpgsqlTransaction> BeginTransactionAsync(CancellationToken stopping = default(CancellationToken)) { return null; }
        public Task<bool> WaitAsync(TimeSpan timeout, CancellationToken stopping = default(CancellationToken)) { return null; }
        public void Dispose() { }
    }

    public sealed class NpgsqlParameter
    {
        public object Value { get; set; }
        public NpgsqlTypes.NpgsqlDbType NpgsqlDbType { get; set; }
    }

    public sealed class NpgsqlParameterCollection
    {
        public NpgsqlParameter Add(NpgsqlParameter value) { return value; }
        public NpgsqlParameter AddWithValue(string name, object value) { return null; }
    }

    public sealed class NpgsqlDataReader : IDisposable
    {
        public Task<bool> ReadAsync(CancellationToken stopping = default(CancellationToken)) { return null; }
        public long GetInt64(int ordinal) { return 0; }
        public Guid GetGuid(int ordinal) { return Guid.Empty; }
        public string GetString(int ordinal) { return ""; }
        public void Dispose() { }
    }

    public sealed class NpgsqlCommand : IDisposable
    {
        public NpgsqlCommand(string text, NpgsqlConnection connection) { }
        public NpgsqlCommand(string text, NpgsqlConnection connection, NpgsqlTransaction transaction) { }
        public NpgsqlParameterCollection Parameters { get { return null; } }
        public Task<object> ExecuteScalarAsync(CancellationToken stopping = default(CancellationToken)) { return null; }
        public Task<int> ExecuteNonQueryAsync(CancellationToken stopping = default(CancellationToken)) { return null; }
        public Task<NpgsqlDataReader> ExecuteReaderAsync(CancellationToken stopping = default(CancellationToken)) { return null; }
        public void Dispose() { }
    }
}

namespace Dapper
{
    public static class SqlMapper
    {
        public static Task<T> QuerySingleAsync<T>(this Npgsql.NpgsqlConnection connection, string sql, object parameters = null) { return null; }
        public static Task<int> ExecuteAsync(this Npgsql.NpgsqlConnection connection, string sql, object parameters = null) { return null; }
    }
}

namespace Microsoft.EntityFrameworkCore
{
    public class DbUpdateException : Exception { }
    public class DbSet<T> : List<T> where T : class { }
    public class DbContextOptionsBuilder { }

    public static class Provider
    {
        public static DbContextOptionsBuilder UseNpgsql(this DbContextOptionsBuilder options, Npgsql.NpgsqlDataSource source) { return options; }
    }

    public class DatabaseFacade { public Task<Npgsql.NpgsqlTransaction> BeginTransactionAsync() { return null; } }

    public class DbContext : IDisposable
    {
        public DatabaseFacade Database { get { return null; } }
        protected virtual void OnConfiguring(DbContextOptionsBuilder options) { }
        protected virtual void OnModelCreating(ModelBuilder model) { }
        public Task<int> SaveChangesAsync() { return null; }
        public void Dispose() { }
    }

    public class ModelBuilder { public ModelBuilder Entity<T>(Action<EntityTypeBuilder<T>> build) where T : class { return this; } }
    public class TableBuilder { public TableBuilder ExcludeFromMigrations() { return this; } }

    public class PropertyBuilder
    {
        public PropertyBuilder HasColumnName(string name) { return this; }
        public PropertyBuilder HasColumnType(string name) { return this; }
        public PropertyBuilder HasDefaultValueSql(string sql) { return this; }
        public PropertyBuilder ValueGeneratedOnAdd() { return this; }
    }

    public class EntityTypeBuilder<T> where T : class
    {
        public EntityTypeBuilder<T> ToTable(string name, string schema, Action<TableBuilder> build) { return this; }
        public EntityTypeBuilder<T> ToView(string name, string schema) { return this; }
        public void HasKey(Expression<Func<T, object>> key) { }
        public EntityTypeBuilder<T> HasNoKey() { return this; }
        public PropertyBuilder Property<V>(Expression<Func<T, V>> property) { return null; }
    }

    public static class Queries
    {
        public static Task<int> CountAsync<T>(this IEnumerable<T> from, Expression<Func<T, bool>> which) { return null; }
        public static Task<T> SingleAsync<T>(this IEnumerable<T> from) { return null; }
    }
}
