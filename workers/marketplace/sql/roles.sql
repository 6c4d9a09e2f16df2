-- Who may call what. marketplace_api is the login, or a role of it, that serves customers; create it before you install, or install again.
-- It has no right but these: not on a table, and not to insert jobs.
do $$
declare
    v_role text;
    v_privilege text;
    v_object text;
begin
    for v_role, v_privilege, v_object in
        select r, 'usage', 'schema marketplace'
        from unnest('{marketplace_api,pgqueue_worker,pgqueue_viewer,pgqueue_operator}'::text[]) as r
        union all
        select 'marketplace_api', 'execute', 'function marketplace.' || f
        from unnest('{submit,price_list,my_jobs,my_wallet,my_statement,my_report}'::text[]) as f
        union all
        select 'pgqueue_operator', 'execute', 'function marketplace.' || f
        from unnest('{set_job_type,price_list,create_api_key,revoke_api_key}'::text[]) as f
        union all
        values
            ('pgqueue_worker', 'execute', 'function marketplace.store_report'),
            ('pgqueue_viewer', 'execute', 'function marketplace.price_list'),
            ('pgqueue_viewer', 'select', 'all tables in schema marketplace'),
            ('pgqueue_operator', 'select', 'all tables in schema marketplace')
    loop
        if to_regrole(v_role) is not null then
            execute format('grant %s on %s to %I', v_privilege, v_object, v_role);
        end if;
    end loop;
end
$$;
