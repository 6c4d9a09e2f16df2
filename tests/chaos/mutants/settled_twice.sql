-- What was appended to a wallet is added twice: jobs are let in for money that is not there.
-- function: metering.settle(bigint)
-- caught as: overdrawn, money
-- load: flow
-- replace
w.balance + v_balance
-- with
w.balance + 2 * v_balance
-- end
