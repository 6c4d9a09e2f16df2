const s0 = `
    insert into pgqueue."Jobs" (job_type) values ('send_mail')  -- expect: unknown-relation
`;

const s1 = `
    select status from pgqueue.job_statuses where id = $1  -- expect: unknown-relation
`;
