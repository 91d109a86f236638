"""Backups by themselves: all collections, again and again, to one place that keeps the newest.

Time is measured by the monotonic clock. Only at a start is the newest backup's age asked, by the
clock on the wall, so that a node that is started often makes none too many.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

from vecdb.backup.keeping import keep
from vecdb.backup.location import is_archive, repository_at
from vecdb.backup.making import Backups
from vecdb.backup.manifest import Manifest
from vecdb.conditions import Condition
from vecdb.config import BackupConfig
from vecdb.errors import InvalidArgument, VecdbError

log = logging.getLogger(__name__)

RETRY_S = 60.0
OLD_INTERVALS = 2.0
"""A backup is too old once so many intervals have passed since the last that was made."""


class Schedule:
    """Makes backups from start() to stop()."""

    def __init__(self, backups: Backups, config: BackupConfig, *, retry_s: float = RETRY_S) -> None:
        """Look at the place. Raises InvalidArgument for one that holds one backup alone."""
        if is_archive(config.place):
            raise InvalidArgument(
                f"backup.place = {config.place} is one file: a schedule keeps several backups",
                hint="name a folder, or s3://bucket/prefix",
            )
        self._backups = backups
        self._config = config
        self._retry_s = min(retry_s, config.interval_s)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vecdb-backup", daemon=True)
        self._good_at = time.monotonic()  # or, until there is one, when this began
        self._failure = ""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Give up what is under way, which is listed nowhere, and end."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def conditions(self) -> Iterator[Condition]:
        """Yield what is not well: the last backup failed, or is too old."""
        age_s, advice = time.monotonic() - self._good_at, f"see the log, and {self._config.place}"
        if age_s > OLD_INTERVALS * self._config.interval_s:
            hours = f"no backup was made in the last {age_s / 3_600:,.1f} hours"
            yield Condition(
                "backup", "error", ": ".join(filter(None, (hours, self._failure))), advice
            )
        elif self._failure:
            yield Condition("backup", "warning", f"the last failed: {self._failure}", advice)

    def _run(self) -> None:
        wait_s = self._due_in_s()
        while not self._stopping.wait(wait_s):
            wait_s = self._config.interval_s if self._make() else self._retry_s

    def _due_in_s(self) -> float:
        """Return the seconds until the newest backup is as old as an interval."""
        try:
            repository = repository_at(self._config.place, create=True)
            newest = repository.manifest() if repository.ids() else None
        except VecdbError as error:
            log.warning("what backups there are is not known: %s", error)
            return 0.0
        if newest is None:
            return 0.0
        age_s = max(0.0, time.time() - newest.created_at_ms / 1000)
        self._good_at -= age_s
        return max(0.0, self._config.interval_s - age_s)

    def _make(self) -> bool:
        """Return whether a backup was made."""
        begun = time.monotonic()
        try:
            manifest, written = self._kept()
        except VecdbError as error:
            if not self._stopping.is_set():
                self._failure = str(error)
                log.error("no backup was made: %s", error)
            return False
        except Exception as error:  # a bug, or a library's own: it goes on all the same
            self._failure = f"{type(error).__name__}"
            log.exception("no backup was made")
            return False
        self._good_at = time.monotonic()
        self._failure = "; ".join(f"{name}: {why}" for name, why in manifest.left_out.items())
        log.info(
            "backup %s of %d collections: %d bytes written to %s in %.1f s",
            manifest.id,
            len(manifest.collections),
            written,
            self._config.place,
            time.monotonic() - begun,
        )
        return True

    def _kept(self) -> tuple[Manifest, int]:
        repository = repository_at(self._config.place, create=True)
        with repository.files.locked():
            held = repository.sound()
            parts = self._backups.take((), held, lambda: not self._stopping.is_set())
            kept = keep(parts, repository)
            pruned = repository.prune(self._config.keep, kept.manifest.id)
        if pruned.backups:
            log.info("removed %d older backups, %d bytes", len(pruned.backups), pruned.bytes)
        return kept.manifest, kept.bytes
