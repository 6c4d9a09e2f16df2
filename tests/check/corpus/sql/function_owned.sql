update pgqueue.jobs set priority = 0 where id = $1;  -- expect: function-owned

delete from pgqueue.ready where queue = 'mail';  -- expect: function-owned

insert into pgqueue.queues (queue) values ('mail');  -- expect: function-owned

truncate pgqueue.jobs;  -- expect: function-owned
