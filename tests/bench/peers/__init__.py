"""
Other queues behind one protocol.

Each adapter runs in the peers' own environment, as a program:

    python -m tests.bench.peers.procrastinate_peer COMMAND ...

so nothing here imports pgqueue, but `pgqueue_peer`, which runs in ours.
"""
