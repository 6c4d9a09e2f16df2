-- Seconds come first; TOP_COINS_COLLECTION_SCHEDULE and so on say otherwise
select name, cron, status, next_tick_at from pgqueue.schedule_status order by name;
