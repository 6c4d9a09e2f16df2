-- Money comes in, and the search goes
select metering.deposit('acme', 'EUR', 100, 'payment-1003');
