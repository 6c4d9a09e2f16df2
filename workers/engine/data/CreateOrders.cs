// How an application enqueues create_orders: in the transaction of its own writes.
using System;
using System.Text.Json;
using System.Threading.Tasks;
using Npgsql;
using NpgsqlTypes;

public record Line(string Symbol, decimal Quantity);
public record Order(string Reference, Guid CustomerId, string Currency, Line[] Lines);

public static class Orders
{
    /// <summary>Returns the job's id; null if this batch was enqueued before.</summary>
    public static async Task<Guid?> EnqueueAsync(NpgsqlConnection connection, NpgsqlTransaction transaction, string batch, Order[] orders)
    {
        await using var command = new NpgsqlCommand(
            "insert into pgqueue.jobs (job_type, payload, idempotency_key, notify, callback_url) " +
            "values ('create_orders', $1, $2, true, $3) on conflict do nothing returning id", connection, transaction)
        {
            Parameters =
            {
                new() { Value = JsonSerializer.Serialize(new { Orders = orders }), NpgsqlDbType = NpgsqlDbType.Jsonb },
                new() { Value = batch },
                new() { Value = "https://shop.example.com/hooks/orders" },
            },
        };
        return (Guid?)await command.ExecuteScalarAsync();
    }
}

// With Dapper, through the inbox, which takes strings:
//
//   var job = await connection.QuerySingleAsync<(Guid Id, bool Inserted, string Status)>(
//       "insert into pgqueue.inbox (job_type, payload) values ('calculate_asset_values', @payload) returning id, inserted, status",
//       new { payload = JsonSerializer.Serialize(new { Currency = "EUR", ValuedOn = "2026-01-31" }) }, transaction);
