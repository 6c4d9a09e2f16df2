const s0 = `
    select pgqueue.enque('send_mail')  -- expect: unknown-function
`;

const s1 = `
    select * from pgqueue.insert_many($1, 'ignore', null)  -- expect: unknown-function
`;
