-- Claims weigh jobs without a gate's lock: two at once count the same places.
-- function: pgqueue.hold_gates(text[])
-- caught as: limit, rate
-- load: flow
-- replace
pg_try_advisory_xact_lock(7067006, hashtext(v_gate))
-- with
true
-- end
