-- A quota admits twice what it says.
-- function: pgqueue.check_quota(text,bigint,bigint)
-- caught as: quota
-- load: flow
-- replace
            when v_waiting > v_quota.waiting_max then
-- with
            when v_waiting > 2 * v_quota.waiting_max then
-- end
