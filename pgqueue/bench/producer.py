"""
Where pgbench is missing: connections that run one statement over and over.

`python -m pgqueue.bench.producer NAME CLIENTS SECONDS`; prints how many were executed.
"""

from __future__ import annotations

import sys
import threading
import time

from pgqueue.bench.queries import statement
from pgqueue.connection import connect

__all__ = ["main"]


def main() -> None:
    """Run as many threads as clients, and print the number of transactions per second."""
    name, clients, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    ready = threading.Barrier(clients)
    counts: list[int] = []

    def produce() -> None:
        with connect(application_name="pgqueue bench producer") as connection:
            query, count = statement(name).encode(), 0
            ready.wait(60)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                connection.execute(query, prepare=True)
                count += 1
            counts.append(count)

    threads = [threading.Thread(target=produce, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 120)
    print(sum(counts) / seconds)  # noqa: T201  # the answer


if __name__ == "__main__":
    main()
