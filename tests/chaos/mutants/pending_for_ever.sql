-- What an ended job had reserved stays pending.
-- function: metering.charge(uuid[])
-- caught as: money
-- load: flow
-- replace
, -sum(e.amount) from
-- with
, 0 from
-- end
