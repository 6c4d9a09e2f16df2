const s0 = `
    insert into pgqueue.jobs (job_type,
        kind)  -- expect: unknown-column
    values ('send_mail', 'x')
`;

const s1 = `
    insert into pgqueue.inbox (job_type, args)  -- expect: unknown-column
    values ('send_mail', '{}') returning id
`;
