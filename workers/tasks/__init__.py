"""
Ready handlers, for jobs that need no Python of their own: call, post, run.

    pgqueue migrate --app workers.tasks
    pgqueue worker --app workers.tasks

sql_task.py   call a SQL function of yours, in the job's own transaction
webhook.py    POST a JSON body to a URL
shell.py      run a command
commands.py   which commands: a file that the worker's operator writes

Producers choose among what an operator allowed, and nothing else: functions by a row of
tasks.allowed_functions, hosts and commands by the worker's environment. All three start empty.
"""

from __future__ import annotations

# Importing an application must import the modules that declare its handlers.
from .shell import shell
from .sql_task import sql_task
from .webhook import webhook

__all__ = ["shell", "sql_task", "webhook"]
