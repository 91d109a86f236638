"""What happens to the node meanwhile: kills, a full disk, a clock that jumps."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter

import numpy as np

from tests.live import LiveServer, alive, command_of, descendants, nodes_of
from tests.rpc.nodes import holds_lock
from tests.soak.area import DIM, Violation
from tests.surroundings import MIB, FakedClock
from vecdb_client import NO_RETRIES, VecdbError

HEALED_S, ENDED_S = 150.0, 60.0
"""Seconds to take writes again, and for children to follow a killed parent, on a busy machine."""


class Crasher:
    """Does something to the node every few seconds, until it is told to stop."""

    def __init__(
        self, server: LiveServer, seed: str, stop: threading.Event, disk: bool, clock: FakedClock
    ) -> None:
        self.server = server
        self.rng = random.Random(seed)
        self.stop = stop
        self.clock = clock
        self.kills: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.violation: BaseException | None = None
        self.trace: list[str] = []
        self._acts = [*[self.kill] * 6, self.kill_all, self.restart, self.hang]
        self._acts += [self.fill] * (2 * disk)
        self._acts += [self.jump] * (clock.library is not None)

    def run(self) -> None:
        try:
            while not self.stop.wait(self.rng.uniform(2.0, 8.0)):
                act = self.rng.choice(self._acts)
                self.trace.append(f"{time.monotonic():.3f} {act.__name__}")
                act()
                # Now and then the next comes before the node has got over the last.
                if self.rng.random() < 0.7:
                    self.heal()
        except BaseException as error:
            self.violation = error
            self.stop.set()

    def kill(self) -> None:
        """kill -9 of one process of the node, but for the supervisor."""
        roles = self.roles()
        if not roles:
            return
        role = self.rng.choice(sorted(set(roles.values())))
        pid = self.rng.choice([each for each, kind in roles.items() if kind == role])
        self.trace.append(f"  {role} {pid}")
        with contextlib.suppress(ProcessLookupError):  # it ended by itself meanwhile
            os.kill(pid, signal.SIGKILL)
            self.kills[role] += 1

    def hang(self) -> None:
        """Stop one process for a while; who watches it may end it meanwhile."""
        roles = self.roles()
        if not roles:
            return
        pid = self.rng.choice(sorted(roles))
        self.trace.append(f"  {roles[pid]} {pid}")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            self.faults["hang"] += 1
            self.stop.wait(self.rng.uniform(1, 15))
            os.kill(pid, signal.SIGCONT)

    def kill_all(self) -> None:
        """kill -9 of the supervisor; the others must end by themselves. Then start again."""
        assert self.server.process is not None
        those = descendants(self.server.process.pid)
        self.server.kill()
        self.kills["supervisor"] += 1
        until = time.monotonic() + ENDED_S
        while left := [pid for pid in those if alive(pid)]:
            if time.monotonic() > until:
                raise Violation(f"{len(left)} processes outlive their supervisor by {ENDED_S} s")
            time.sleep(0.05)
        self.server.start()

    def restart(self) -> None:
        """SIGTERM under load, and a start."""
        if self.server.stop() != 0:
            raise Violation("the node did not stop as it should")
        self.server.start()
        self.faults["restart"] += 1

    def fill(self) -> None:
        """Fill the disk for some seconds."""
        ballast = self.server.data / "ballast"
        self.faults["disk full"] += 1
        try:
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while file.write(bytes(MIB)):
                    pass
            if self.rng.random() < 0.3:
                self.kill()
            self.stop.wait(self.rng.uniform(1, 8))
        finally:
            ballast.unlink(missing_ok=True)
        self.heal()

    def heal(self) -> None:
        """Wait until writes are taken again: soon, and without anybody's help."""
        until = time.monotonic() + HEALED_S
        vector = np.ones(DIM, np.float32)
        with self.server.client(retries=NO_RETRIES, timeout_s=20) as client:
            while True:
                try:
                    client.collection("canary").upsert([{"id": "healed", "vector": vector}])
                    return
                except VecdbError as error:
                    if time.monotonic() > until:
                        raise Violation(f"it does not heal: {error}") from error
                    time.sleep(0.2)

    def jump(self) -> None:
        offset_s = self.rng.choice((0, 3_600, -3_600, 40 * 86_400, -86_400, 1, -1))
        self.trace.append(f"  {offset_s} s")
        self.clock.jump(offset_s)
        self.faults["clock jump"] += 1

    def roles(self) -> dict[int, str]:
        """Return what each process of the node is, but for the supervisor."""
        assert self.server.process is not None
        found: dict[int, str] = {}
        nodes = nodes_of(self.server)
        for pid in descendants(self.server.process.pid):
            command = command_of(pid)
            if b"vecdb.embed.worker" in command:
                found[pid] = "embedding worker"
            elif pid in nodes:
                found[pid] = "writer" if holds_lock(pid, self.server.data) else "query worker"
            elif b"vecdb.template" in command:
                found[pid] = "template"
            elif b"multiprocessing.spawn" in command:
                found[pid] = "builder"
        return found
