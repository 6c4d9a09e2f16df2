select pgqueue.enque('send_mail');  -- expect: unknown-function

select * from pgqueue.insert_many($1, 'ignore', null);  -- expect: unknown-function
