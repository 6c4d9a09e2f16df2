-- The attempt number fences, and a snoozed or redriven job has it again.
-- function: pgqueue.claim(bigint,text[],integer,bigint[],boolean)
-- caught as: token
-- replace
nextval('pgqueue.token_seq') as token
-- with
(p.attempts + 1)::bigint as token
-- end
