select pgqueue.run_schedule_now('top_coins_collection') is not null as runs;
