// expect: unreadable
String s0 = "insert into pgqueue.jobs (job_type) valeus ('send_mail')";
