-- What happens to wallets, as the database saw it; after metering has been installed. A wallet's reservations are made under its
-- lock, so ordered by seq they come after all that they have seen.

create table chaos.money (
    seq bigint generated always as identity primary key,
    wallet bigint not null,
    job uuid,
    what text not null,  -- reserve, unreserve, or the kind of an entry
    amount bigint not null,
    reference text,
    xid xid8 not null default pg_current_xact_id()
);

create function chaos.witness_money() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if tg_table_name = 'wallet_entries' then
        insert into chaos.money (wallet, job, what, amount, reference) values (new.wallet_id, new.job_id, new.kind, new.amount, new.reference);
    elsif tg_op = 'DELETE' then
        insert into chaos.money (wallet, job, what, amount) values (old.wallet_id, old.job_id, 'unreserve', old.amount);
    else
        insert into chaos.money (wallet, job, what, amount) values (new.wallet_id, new.job_id, 'reserve', new.amount);
    end if;
    return null;
end
$$;

create trigger chaos_witness after insert on metering.wallet_entries
    for each row execute function chaos.witness_money();
create trigger chaos_witness after insert or delete on metering.reservations
    for each row execute function chaos.witness_money();
