// Strings in either quotes and templates; `insert into pgqueue.jobs (oops) values (1)` is a comment.
const pattern = /["'`]/g;
const quotient = total / 2; const half = "/";
// expect: unknown-column
const single = 'insert into pgqueue.jobs (job_type, oops) values (\'a\', 1)';
const joined = "insert into pgqueue.jobs " +
  "(job_type, oops) " + // expect: unknown-column
  "values ('a', 1)";
const template = `insert into pgqueue.jobs
  (job_type, "Oops")  -- expect: unknown-column
  values ('a', $1)`;
// expect: interpolation
await client.query(`insert into pgqueue.jobs (job_type) values ('${type}')`);
// expect: interpolation
await client.query(`insert into pgqueue.jobs (job_type, queue) values ($1, ${queue ?? "}"})`);
await sql`insert into pgqueue.jobs (job_type, queue) values (${type}, ${queue})`;
// expect: interpolation
await sql`insert into pgqueue.jobs (job_type) values ('${type}')`;
await prisma.$executeRaw`insert into pgqueue.jobs (job_type, payload) values (${type}, ${body}::jsonb)`;
// expect: text-into-jsonb
await client.query("insert into pgqueue.jobs (job_type, payload) values ($1, $2)", [type, body]);
await client.query("insert into pgqueue.inbox (job_type, payload) values ($1, $2)", [type, body]);
const words = "see pgqueue.jobs for what select means";
