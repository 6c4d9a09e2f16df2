-- A job that failed is charged for.
-- function: metering.charge(uuid[])
-- caught as: charge
-- load: flow
-- replace
f.status in ('succeeded', 'partial') as charged
-- with
true as charged
-- end
