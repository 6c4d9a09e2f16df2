"""
Faults on purpose, and a checker of what happened.

    python -m tests.chaos --help      the tool; `make chaos SEED=7` and `make soak` call it

    run        load, faults as `schedule` draws them, healing, and the verdict
    arena      a server, worker and producer processes, a history file for each
    producer, operators, handlers     the load; `client` is their connection that comes back
    flow, flow_load      its jobs with limits, orders, batches, signals, quotas and prices
    nemesis    a fault with a name: nemeses/ has them all, machinery/ what they work with
    history, witness     what each process saw; `collect` makes `evidence` of it, and of sql/
    checker    says which promise was broken, and by which events (fold, order, waits, bills)
    histories, corruption     what the checker is tested with; flow_*: of the rest of the load
    mutants/   pgqueue broken on purpose; `hunt` sees that the checker notices each

`test_checker`, `test_mutants` and `test_proxy` run with the suite, the others with `make faults`.
"""
