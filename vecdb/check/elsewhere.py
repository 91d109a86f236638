"""Checking collections of a running server, by a process of its own: nobody waits for it here.

A damaged store may end the process that reads it; that is then what was found.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from vecdb.check.walk import Report, check_collection
from vecdb.errors import VecdbError
from vecdb.storage.numbered import NumberedSchema

POLL_S = 0.25
NICE = 10


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the check of a collection is, in points."""

    done: int
    points: int


class CheckProcess:
    """A process of low priority that checks one collection after the other."""

    def __init__(self) -> None:
        self._process: Any = None
        self._line: Connection | None = None

    def check(
        self, folder: Path, name: str, schema: NumberedSchema, is_wanted: Callable[[], bool]
    ) -> Iterator[Progress | Report | None]:
        """Yield how far it is, None where nothing is new, and in the end what was found."""
        line = self._begun()
        line.send((folder, name, schema))
        while True:
            try:
                if not line.poll(POLL_S):
                    if not is_wanted():
                        return
                    yield None
                    continue
                found = line.recv()
            except (EOFError, OSError):
                self.close()
                yield Report(name, findings=["its store ends the process that reads it"])
                return
            yield found
            if isinstance(found, Report):
                return

    def close(self) -> None:
        """End the process, whatever it is at."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
        if self._line is not None:
            self._line.close()
            self._line = None

    def _begun(self) -> Connection:
        if self._line is None:
            context = multiprocessing.get_context("spawn")
            self._line, theirs = context.Pipe()
            self._process = context.Process(target=_main, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        return self._line


def _main(line: Connection) -> None:
    os.nice(NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # when to end is the server's to say
    try:
        while True:
            folder, name, schema = line.recv()
            report = Report(name)
            try:
                check_collection(
                    folder,
                    schema,
                    report,
                    lambda _, done, points: line.send(Progress(done, points)),
                )
            except VecdbError as error:
                report.add(str(error))
            line.send(report)
    except (EOFError, OSError):
        return  # the server has ended, or nobody waits any more
