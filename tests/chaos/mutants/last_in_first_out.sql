-- The newest job of a priority goes first.
-- function: pgqueue.claim(bigint,text[],integer,bigint[],boolean)
-- caught as: inversion
-- replace
                order by r.pos
-- with
                order by r.pos desc
-- end
