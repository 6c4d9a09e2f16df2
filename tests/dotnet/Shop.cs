// A .NET application that enqueues in its own transactions and hears back in each way. A Python worker runs its jobs.
//   mono shop.exe HOST PORT USER DATABASE CALLBACK_PORT SECRET
// Prints one line per step; exits with 0 only if every step behaved. C# 6, for mcs.
using System;
using System.Collections.Generic;
using System.IO;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Threading;

public static class Shop
{
    const int WaitMilliseconds = 30000;
    const string Trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    static Func<Pg> connect;

    public static int Main(string[] args)
    {
        connect = () => new Pg(args[0], int.Parse(args[1]), args[2], args[3]);
        try
        {
            using (var db = connect())
            {
                db.Query("set role pgqueue_producer");
                EnqueueInATransaction(db);
                StringsAndDefaults(db);
                Duplicates(db);
                Refusals(db);
                HearANotification(db);
                ReadTheFeed(db);
                TakeACallback(db, int.Parse(args[4]), args[5]);
            }
            return 0;
        }
        catch (Exception problem)
        {
            Console.Error.WriteLine(problem);
            return 1;
        }
    }

    static void EnqueueInATransaction(Pg db)
    {
        db.Query("begin");
        var lost = db.Value("insert into pgqueue.inbox (job_type, payload) values ($1, $2) returning id", Param.Text("add"), Param.Text(Two));
        db.Query("rollback");
        Equal(0, db.Query("select from pgqueue.job_status where id = $1", Param.Guid(Guid.Parse(lost))).Count, "a rolled back job is gone");

        db.Query("begin");
        db.Query("savepoint \"__EFSavePoint\"");
        Equal("23514", Refusal(() => db.Query("insert into pgqueue.jobs (job_type, priority) values ('add', $1)", Param.Int(9))).SqlState,
            "a bad priority is refused");
        db.Query("rollback to savepoint \"__EFSavePoint\"");
        var kept = db.Value("insert into pgqueue.jobs (job_type, payload) values ($1, $2) returning id", Param.Text("add"), Param.Jsonb(Two));
        db.Query("commit");
        Equal("{\"sum\": 3}", Result(db, kept), "a committed job runs, and its result can be read");
    }

    static void StringsAndDefaults(Pg db)
    {
        Equal("42804", Refusal(() => db.Query("insert into pgqueue.jobs (job_type, payload) values ('add', $1)", Param.Text(Two))).SqlState,
            "text is not jsonb");
        var row = db.Query(
            "insert into pgqueue.inbox (id, job_type, payload, queue, run_at, max_attempts, timeout, idempotency_key, notify)"
            + " values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning id, inserted, status",
            Param.Guid(Guid.Empty), Param.Text("add"), Param.Text(Two), Param.Text(null), Param.Utc(default(DateTime)), Param.Int(0),
            Param.Span(TimeSpan.Zero), Param.Null(), Param.Bool(false))[0];
        Equal("t queued", row[1] + " " + row[2], "zero values mean default");
        var own = Guid.NewGuid();
        Equal(own.ToString(), db.Value("insert into pgqueue.inbox (id, job_type, payload, run_at) values ($1, 'add', $2, $3) returning id",
            Param.Guid(own), Param.Text(Two), Param.Utc(DateTime.UtcNow.AddSeconds(-1))), "a Guid of our own is taken");
        Equal("{\"sum\": 3}", Result(db, own.ToString()), "and its job runs");
    }

    static void Duplicates(Pg db)
    {
        const string insert = "insert into pgqueue.inbox (job_type, payload, idempotency_key) values ('add', $1, $2) returning id, inserted";
        var first = db.Query(insert, Param.Text(Two), Param.Text("order-7"))[0];
        var second = db.Query(insert, Param.Text(Two), Param.Text("order-7"))[0];
        Equal("t f " + first[0], first[1] + " " + second[1] + " " + second[0], "the same key is the same job");
        var refusal = Refusal(() => db.Query("insert into pgqueue.jobs (job_type, idempotency_key) values ('add', 'order-7')"));
        Equal("23505 jobs_idempotency_key", refusal.SqlState + " " + refusal.ConstraintName, "the table refuses it by name");
    }

    static void Refusals(Pg db)
    {
        var refusal = Refusal(() => db.Query("insert into pgqueue.inbox (job_type, payload) values ('add', $1)", Param.Text("[]")));
        Equal("23514 jobs_payload_check", refusal.SqlState + " " + refusal.ConstraintName, "a payload that is no object");
        Equal("22P02", Refusal(() => db.Query("insert into pgqueue.inbox (job_type, payload) values ('add', $1)", Param.Text("{"))).SqlState,
            "a payload that is no JSON");
        Equal("42501", Refusal(() => db.Query("update pgqueue.jobs set priority = 0")).SqlState, "a producer changes nothing");
        Equal("PQ003", Refusal(() => db.Query("select pgqueue.cancel($1)", Param.Guid(Guid.NewGuid()))).SqlState, "there is no such job");
    }

    static void HearANotification(Pg db)
    {
        using (var listener = connect())
        {
            listener.Query("listen pgqueue_finished");
            var id = db.Value("insert into pgqueue.inbox (job_type, payload, notify) values ('add', $1, $2) returning id",
                Param.Text(Two), Param.Bool(true));
            string payload;
            do
            {
                payload = listener.Wait(WaitMilliseconds);
                if (payload == null) throw new Exception("no notification came");
            } while (Array.IndexOf(payload.Split(','), id) < 0);
            Equal("succeeded", db.Value("select status from pgqueue.job_status where id = $1", Param.Guid(Guid.Parse(id))),
                "who hears can read the outcome");
        }
    }

    static void ReadTheFeed(Pg db)
    {
        var id = db.Value("insert into pgqueue.inbox (job_type, payload, feed) values ('add', $1, $2) returning id",
            Param.Text(Two), Param.Text("shop"));
        List<string[]> taken = null;
        Eventually(() => (taken = db.Query("select completion_id, job_id, status, result from pgqueue.take_completions($1, $2)",
            Param.Text("shop"), Param.Int(10))).Count > 0, "a completion comes");
        Equal(id + " succeeded {\"sum\": 3}", string.Join(" ", taken[0], 1, 3), "the feed says which job and how it ended");
        Equal("1", db.Value("select pgqueue.ack_completions('shop', array[$1])", Param.Long(long.Parse(taken[0][0]))), "it is acknowledged");
        Equal(0, db.Query("select from pgqueue.take_completions('shop')").Count, "and does not come again");
    }

    // The first answer is 503: the queue comes again, with the same webhook-id.
    static void TakeACallback(Pg db, int port, string secret)
    {
        using (var server = new HttpListener())
        {
            server.Prefixes.Add("http://127.0.0.1:" + port + "/");
            server.Start();
            var id = db.Value("insert into pgqueue.inbox (job_type, payload, callback_url, headers) values ('add', $1, $2, $3) returning id",
                Param.Text(Two), Param.Text("http://127.0.0.1:" + port + "/hooks?key=1"), Param.Text("{\"traceparent\": \"" + Trace + "\"}"));
            var seen = new List<string>();
            foreach (var status in new[] { 503, 200 })
            {
                var coming = server.BeginGetContext(null, null);
                if (!coming.AsyncWaitHandle.WaitOne(WaitMilliseconds)) throw new Exception("no callback came");
                var context = server.EndGetContext(coming);
                var headers = context.Request.Headers;
                var body = new StreamReader(context.Request.InputStream, Encoding.UTF8).ReadToEnd();
                Equal(true, Verify(headers["webhook-id"], headers["webhook-timestamp"], headers["webhook-signature"], body, secret),
                    "the signature fits");
                Equal(false, Verify(headers["webhook-id"], headers["webhook-timestamp"], headers["webhook-signature"], body + " ", secret),
                    "and no other body's");
                Equal(true, body.Contains("\"id\": \"" + id + "\"") && body.Contains("job.succeeded"), "the body names the job");
                Equal(Trace, headers["traceparent"], "the trace goes on");
                seen.Add(headers["webhook-id"]);
                context.Response.StatusCode = status;
                if (status == 503) context.Response.AddHeader("Retry-After", "0");
                context.Response.Close();
            }
            Equal(seen[0], seen[1], "a repeated callback has the same id");
        }
    }

    // As the sample and the README show it.
    static bool Verify(string id, string timestamp, string signatures, string body, string secret)
    {
        long seconds;
        var epoch = new DateTime(1970, 1, 1, 0, 0, 0, DateTimeKind.Utc);
        if (!long.TryParse(timestamp, out seconds) || Math.Abs((DateTime.UtcNow - epoch).TotalSeconds - seconds) > 300) return false;
        using (var hmac = new HMACSHA256(Convert.FromBase64String(secret.Substring("whsec_".Length))))
        {
            var hash = hmac.ComputeHash(Encoding.UTF8.GetBytes(id + "." + timestamp + "." + body));
            var mine = Encoding.UTF8.GetBytes("v1," + Convert.ToBase64String(hash));
            foreach (var theirs in signatures.Split(' '))
                if (CryptographicOperations.FixedTimeEquals(mine, Encoding.UTF8.GetBytes(theirs))) return true;
            return false;
        }
    }

    const string Two = "{\"a\": 1, \"b\": 2}";

    static string Result(Pg db, string id)
    {
        string[] row = null;
        Eventually(() => (row = db.Query("select status, result from pgqueue.job_status where id = $1", Param.Guid(Guid.Parse(id)))[0])[0] == "succeeded",
            "job " + id + " succeeds");
        return row[1];
    }

    static PgException Refusal(Action action)
    {
        try { action(); }
        catch (PgException refusal) { return refusal; }
        throw new Exception("it was not refused");
    }

    static void Eventually(Func<bool> fact, string what)
    {
        var deadline = DateTime.UtcNow.AddMilliseconds(WaitMilliseconds);
        while (!fact())
        {
            if (DateTime.UtcNow > deadline) throw new Exception("not in time: " + what);
            Thread.Sleep(50);
        }
    }

    static void Equal(object expected, object actual, string what)
    {
        if (!Equals(expected, actual)) throw new Exception(what + ": expected " + expected + ", got " + actual);
        Console.WriteLine("ok: " + what);
    }
}
