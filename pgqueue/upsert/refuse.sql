    select array_agg(e.n order by e.n) into v_rows
    from jsonb_array_elements($1) with ordinality as e (item, n)
    cross join lateral jsonb_to_record(e.item) as g (@key_definitions@)
    group by @keys_g@
    having count(*) > 1
    order by min(e.n)
    limit 1;
    if found then
        raise exception using errcode = '21000', message = format('@name@: rows %s and %s have the same key', v_rows[1], v_rows[2]),
            hint = 'Send each key once, or write this function with --last-wins.';
    end if;
