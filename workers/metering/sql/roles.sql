-- Who may do what, on the roles of pgqueue. Producers and workers have no right here: the hook acts for them as the owner.
do $$
declare
    v_role text;
    v_privilege text;
    v_object text;
begin
    for v_role, v_privilege, v_object in
        select r.role_name, g.privilege, g.object
        from (
            values
                ('usage', 'schema metering'),
                ('select', 'all tables in schema metering'),
                ('execute', 'function metering.verify')
        ) as g (privilege, object)
        cross join (values ('pgqueue_viewer'), ('pgqueue_operator')) as r (role_name)
        union all
        select 'pgqueue_operator', 'execute', 'function metering.' || f
        from unnest('{set_customer,set_price,remove_price,deposit,adjust,refund}'::text[]) as f
    loop
        if exists (select from pg_catalog.pg_roles r where r.rolname = v_role) then
            execute format('grant %s on %s to %I', v_privilege, v_object, v_role);
        end if;
    end loop;
end
$$;
