-- What is sold, at which cost in cents; a search waits for money, the others are refused without
select
    marketplace.set_job_type('text_statistics', 'Words and sentences of a text', 5),
    marketplace.set_job_type('render_report', 'A report of your figures', 20),
    marketplace.set_job_type('prime_search', 'Prime numbers', 50, p_on_insufficient => 'hold');

-- Two customers; payments carry an id, so that one reported twice is entered once
select metering.set_customer('acme', 'Acme Ltd'), metering.set_customer('zoo', 'The Zoo');

select metering.deposit('acme', 'EUR', 90, 'payment-1001'), metering.deposit('zoo', 'EUR', 10, 'payment-1002');

-- A key is shown once, and kept as a hash. Here a table keeps it for what follows
create table my_key as select marketplace.create_api_key('acme', 'demo') as key;

select customer, label, octet_length(key_hash) as hash_bytes, revoked_at from marketplace.api_keys;

-- What customers see
select * from marketplace.price_list();
