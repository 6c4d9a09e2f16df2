select pgqueue.enqueue('send_mail',
    queue => 'mail');  -- expect: function-arguments

select pgqueue.enqueue();  -- expect: function-arguments

select pgqueue.cancel($1, 'why', 'more');  -- expect: function-arguments

select pgqueue.enqueue('send_mail',
    p_on_duplicate => 'update');  -- expect: function-arguments

call pgqueue.cancel($1);  -- expect: function-arguments
