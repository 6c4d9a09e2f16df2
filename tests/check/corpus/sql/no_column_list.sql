insert into pgqueue.jobs  -- expect: no-column-list
values (default, 'send_mail');

insert into pgqueue.jobs default values;  -- expect: no-column-list
