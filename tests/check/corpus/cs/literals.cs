using Npgsql;
// Every kind of literal, and what is no literal: "insert into pgqueue.jobs (oops) values (1)".
/* @"insert into pgqueue.jobs (oops) values (1)" */
class Producer
{
    const char Quote = '"'; const char Escaped = '\'';
    // expect: unknown-column
    string regular = "insert into pgqueue.jobs (job_type, oops) values ('a', 1)";
    // expect: unknown-column
    string escaped = "\tinsert into pgqueue.jobs (job_type, \"Oops\") values ('\u0041', 1)";
    string verbatim = @"insert into pgqueue.jobs
        (job_type, ""Oops"")  -- expect: unknown-column
        values ('C:\dir\', @p)";
    string raw = """
        insert into pgqueue.jobs (job_type, "Oops")  -- expect: unknown-column
        values ('a', '""')
        """;
    string rawFour = """"insert into pgqueue.jobs (job_type) values ('"""')"""";
    string concatenated = "insert into pgqueue.jobs " +
        "(job_type, " +
        "oops) " +  // expect: unknown-column
        @"values ('a', 1)";
    // expect: interpolation
    string pasted = "insert into pgqueue.jobs (job_type) values ('" + type + "')";
    // expect: interpolation
    string interpolated = $"insert into pgqueue.jobs (job_type) values ('{type.Replace("'", "''")}')";
    string both = $@"insert into pgqueue.jobs (job_type, unique_key)
        values ('a {{0}} ""x""', '{key}')"; // expect: interpolation
    // expect: interpolation
    string whole = $"insert into pgqueue.inbox (job_type, payload) values ('a', '{json}')";
    string other = @$"insert into pgqueue.jobs (job_type, queue)
        values ('a', {queue})"; // expect: interpolation
    string rawInterpolated = $$"""
        insert into pgqueue.jobs (job_type, payload)
        values ('a', '{"to": "{{to}}"}')  -- expect: interpolation
        """;
    string two = "" + "insert into pgqueue.jobs (job_type) values (@a)"; string empty = "";

    async Task Ef(DbContext db)
    {
        await db.Database.ExecuteSqlInterpolatedAsync(
            $"insert into pgqueue.jobs (job_type, unique_key) values ({type}, {key})");
        // expect: interpolation
        await db.Database.ExecuteSqlAsync($"insert into pgqueue.jobs (job_type) values ('{type}')");
        // expect: interpolation
        await db.Database.ExecuteSqlRawAsync($"insert into pgqueue.jobs (job_type) values ({type})");
    }

    async Task Npgsql(NpgsqlConnection conn)
    {
        await using var cmd = new NpgsqlCommand(
            "INSERT INTO pgqueue.jobs (queue, job_type, payload) VALUES ($1,$2,$3) ON CONFLICT DO NOTHING RETURNING id", conn, tx);
        cmd.Parameters.Add(new() { Value = Serialize(args), NpgsqlDbType = NpgsqlDbType.Jsonb });
        // expect: text-into-jsonb
        await conn.ExecuteAsync("INSERT INTO pgqueue.jobs (job_type, payload) VALUES (@kind, @payload)", new { kind, payload });
        await conn.ExecuteAsync("INSERT INTO pgqueue.jobs (job_type, payload) VALUES (@kind, CAST(@payload AS jsonb))");
        await conn.ExecuteAsync("INSERT INTO pgqueue.jobs (job_type, payload) VALUES (@kind, @payload::jsonb)");
        await conn.ExecuteAsync("INSERT INTO pgqueue.inbox (job_type, payload, run_at) VALUES (@kind, @payload, now() + @delay) RETURNING id, inserted");
    }
}
