-- Every balance is the sum of its entries, every reservation has an unfinished job, nothing was charged twice: no rows
select * from metering.verify();
