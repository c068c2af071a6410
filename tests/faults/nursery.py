"""Starts operators quickly: a process that has everything imported, and forks one for each line it reads.

A line is a JSON object with `environment` and `log`; the answer is the new process's id. The operators are real
processes that are really killed; only their imports are shared. They end with the nursery, and it with its parent.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
import traceback

from rollback_operator import __main__ as operator

PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _become(environment: dict[str, str], log: str) -> None:
    _end_with_parent()
    os.environ.update(environment)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    null = os.open(os.devnull, os.O_RDONLY)
    for number, source in ((0, null), (1, output), (2, output)):
        os.dup2(source, number)
    if environment.get("FAULTS_MISTAKE"):
        from tests.faults import mistakes  # noqa: PLC0415 - only where a mistake is wanted

        mistakes.make(environment["FAULTS_MISTAKE"])
    operator.main()


def main() -> None:
    """Serve until standard input ends."""
    _end_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children: no zombies
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                _become(order["environment"], order["log"])
            except BaseException:  # noqa: BLE001 - the end of a process, whatever it is
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(1)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
