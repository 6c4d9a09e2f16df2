-- The room at a gate is looked at once per claim: all jobs of one claim pass.
-- function: pgqueue.weigh(pgqueue.ready[],integer)
-- caught as: limit
-- load: flow
-- replace
                v_room[v_at] := v_room[v_at] - 1;
-- with

-- end
