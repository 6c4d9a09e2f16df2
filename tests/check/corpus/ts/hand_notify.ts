const s0 = `
    notify pgqueue, 'ring *'  -- expect: hand-notify
`;

const s1 = `
    select pg_notify('pgqueue', $1)  -- expect: hand-notify
`;
