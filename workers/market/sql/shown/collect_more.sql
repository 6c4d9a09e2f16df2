select name, pgqueue.run_schedule_now(name) is not null as runs
from pgqueue.schedule_status
where name in ('price_collection', 'contract_addresses_collection');
