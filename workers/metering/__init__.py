"""
Charging for jobs: customers, wallets, prices and a ledger. SQL alone; there are no handlers here.

    pgqueue migrate --app workers.metering

A job of a priced type reserves its cost when it is inserted and is charged for when it succeeds. It
is a module on pgqueue's hooks, of which the core knows nothing, and an example of one.

sql/0001_metering.sql      the tables, and the order in which they are locked
sql/functions/jobs.sql     the hook: what jobs do to wallets
sql/functions/wallets.sql  settling, and letting go the jobs that waited for money
sql/functions/operate.sql  customers, prices, deposits, refunds
sql/functions/verify.sql   every broken promise; no rows = all is well
sql/views/money.sql        wallet_status, wallet_statement, revenue
"""
