-- The insert looks at the door and lets go of it at once, instead of holding it until its commit.
-- function: pgqueue.route_inserted()
-- caught as: late_wake_up
-- replace
    if not pg_try_advisory_xact_lock_shared(7067001, hashtext(v_first))
-- with
    if not (pg_try_advisory_lock_shared(7067001, hashtext(v_first))
        and pg_advisory_unlock_shared(7067001, hashtext(v_first)))
-- end
