"""What `pgqueue demo --app workers.tasks` plays: a function, a webhook, a command."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from pgqueue.demo import expect, say, step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgqueue.demo import Stage

KINDS = ("sql_task", "webhook", "shell")
WEBHOOK = Template("""insert into pgqueue.jobs (job_type, payload)
values ('webhook', '{"url": "http://127.0.0.1:$port/hook", "body": {"order": 17}}');""")
COMMANDS = Path(__file__).parent / "data" / "commands.toml"


def run(stage: Stage) -> None:
    """Play it."""
    with _receiver() as port:
        environment = {
            "SHELL_COMMANDS": str(COMMANDS),
            "WEBHOOK_HOSTS": "127.0.0.1",
            # What production does not need: a receiver on this machine, without TLS.
            "PGQUEUE_CALLBACK_HTTP": "1",
            "PGQUEUE_CALLBACK_NETWORKS": "127.0.0.0/8",
            "PGQUEUE_CALLBACK_PORTS": str(port),
        }
        with stage.working(environment) as worker:
            with step("Allow one function, and enqueue one job of each kind"):
                stage.show("allow")
                stage.shell.show(WEBHOOK.substitute(port=port))
            with step("Wait for them"):
                jobs = stage.wait(worker)
            expect(jobs, **dict.fromkeys(KINDS, "succeeded"))
            with step("What they returned"):
                stage.show("look")
            with step("What nobody allowed does not run"):
                stage.show("refused")
                refused = stage.wait(worker, earlier=len(jobs))
                expect(refused, **dict.fromkeys(KINDS, "failed"))
                stage.show("look_refused")


@contextmanager
def _receiver() -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            say(f"    the receiver got {body.decode()} with id {self.headers['webhook-id']}")
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
