notify pgqueue, 'ring *';  -- expect: hand-notify

select pg_notify('pgqueue', $1);  -- expect: hand-notify
