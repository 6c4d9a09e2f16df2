-- A start takes half a token: twice the rate.
-- function: pgqueue.take_tokens(text[],integer[],timestamptz)
-- caught as: rate
-- load: flow
-- replace
u.n * r.step as full_at
-- with
u.n * r.step / 2 as full_at
-- end
