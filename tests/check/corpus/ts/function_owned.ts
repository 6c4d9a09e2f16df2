const s0 = `
    update pgqueue.jobs set priority = 0 where id = $1  -- expect: function-owned
`;

const s1 = `
    delete from pgqueue.ready where queue = 'mail'  -- expect: function-owned
`;

const s2 = `
    insert into pgqueue.queues (queue) values ('mail')  -- expect: function-owned
`;

const s3 = `
    truncate pgqueue.jobs  -- expect: function-owned
`;
