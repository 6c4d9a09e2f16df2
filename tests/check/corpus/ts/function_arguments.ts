const s0 = `
    select pgqueue.enqueue('send_mail',
        queue => 'mail')  -- expect: function-arguments
`;

const s1 = `
    select pgqueue.enqueue()  -- expect: function-arguments
`;

const s2 = `
    select pgqueue.cancel($1, 'why', 'more')  -- expect: function-arguments
`;

const s3 = `
    select pgqueue.enqueue('send_mail',
        p_on_duplicate => 'update')  -- expect: function-arguments
`;

const s4 = `
    call pgqueue.cancel($1)  -- expect: function-arguments
`;
