"""
Faults on purpose, and a checker of what happened.

    python -m tests.chaos --help      the tool; `make chaos SEED=7` and `make soak` call it

    arena      a server, worker and producer processes, a history file for each
    load       what producers, operators and handlers do
    nemesis    a fault with a name: nemeses/ has them all
    checker    reads the histories and says which promise was broken, and by which events
    mutants/   the engine broken on purpose; the checker must notice each
"""
