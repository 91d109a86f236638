"""`python -m tests.soak`: a node under load and faults, held against a model."""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.node import complaints
from tests.live import LiveServer
from tests.soak.area import DIM, Violation
from tests.soak.client import SHARED, SoakClient
from tests.soak.faults import Crasher
from tests.surroundings import MIB, FakedClock, small_disk

FADED_S = 8.0
"""Seconds after which no point is left of those that expire, by a clock that was not moved."""
PAST_ALL_S = 100 * 86_400
"""Seconds by which the clock is moved then, past all that was put by one that was ahead."""
BUGS = ("Traceback", "internal error", "Segmentation")
"""Words of the log that no fault explains. Processes hang, and are terminated, by our own doing."""
DISK_BYTES = 384 * MIB
SETTINGS = {
    "server.workers": 2,
    "storage.tail_points": 128,
    "storage.graph_points": 512,
    "storage.segment_points": 4_096,
    "storage.disk_reserve_bytes": 4 * MIB,
}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=30)
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options.add_argument("--clients", type=int, default=5)
    asked = options.parse_args()
    again = f"python -m tests.soak --seed {asked.seed} --clients {asked.clients}"
    print(f"seed {asked.seed}: {again} --minutes {asked.minutes:g}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="vecdb-soak-"))
    embed = random.Random(asked.seed).random() < 0.5 and find_spec("onnxruntime") is not None
    clock = FakedClock(folder / "clock")
    with small_disk(folder / "data", DISK_BYTES) as disk:
        settings = {**SETTINGS, "embed.enabled": str(embed).lower()}
        server = LiveServer(folder / "data", settings, clock.environment, start_s=300)
        without = [] if disk else ["full disks (they need the right to mount)"]
        without += [] if clock.library else ["clock jumps (they need Debian's libfaketime)"]
        print(f"embedding {'on' if embed else 'off'}; without: {', '.join(without) or 'nothing'}")
        try:
            failed = soak(server, asked, disk, clock)
        finally:
            if server.process is not None and server.process.poll() is None:
                server.stop()
        if failed:
            shutil.copytree(server.data, folder / "found")
            print(f"the node's log and data are kept in {folder}", file=sys.stderr)
    if not failed:
        shutil.rmtree(folder)
    return failed


def soak(server: LiveServer, asked: argparse.Namespace, disk: bool, clock: FakedClock) -> int:
    server.start()
    server.listen = server.address  # it comes back where it was
    stop = threading.Event()
    clients = [
        SoakClient(n, f"{asked.seed}-{n}", server.address, stop) for n in range(asked.clients)
    ]
    clients[0].shared()
    clients[0].patient.create_collection("canary", dim=DIM)
    crasher = Crasher(server, f"{asked.seed}-crasher", stop, disk, clock)
    threads = [threading.Thread(target=each.run) for each in (*clients, crasher)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    while not stop.wait(5) and time.monotonic() - began < 60 * asked.minutes:
        done = sum(client.operations.total() for client in clients)
        print(f"{time.monotonic() - began:.0f} s: {done:,} operations", flush=True)
    stop.set()
    for thread in threads:
        thread.join()
    violations = [one.violation for one in (*clients, crasher) if one.violation is not None]
    if not violations:
        try:
            afterwards(server, clients, clock)
        except BaseException as error:
            violations.append(error)
    for client in clients:
        client.close()
    summarize(clients, crasher, time.monotonic() - began, violations)
    return bool(violations)


def afterwards(server: LiveServer, clients: list[SoakClient], clock: FakedClock) -> None:
    """Compare everything, before and after a restart; walk through all files between."""
    clock.jump(PAST_ALL_S)
    client = clients[0].patient
    client.wait_ready(60)
    time.sleep(FADED_S)
    compare(clients, "before a restart")
    if server.stop() != 0:
        raise Violation("the node did not stop as it should")
    check = [sys.executable, "-m", "vecdb", "check", "--data", str(server.data)]
    checked = subprocess.run(check, capture_output=True, text=True)
    if checked.returncode:
        raise Violation(f"vecdb check: {checked.stdout}{checked.stderr}")
    server.start()
    compare(clients, "after a restart")
    if lines := complaints(server, BUGS):
        raise Violation("the log speaks of a bug: " + "\n".join(lines[:20]))


def compare(clients: list[SoakClient], when: str) -> None:
    """Hold all that there is against the model."""
    infos = {info.name for info in clients[0].patient.list_collections()}
    owned = {name for client in clients for name in client.areas}
    open_to = {name for client in clients for name in client.gone}
    if not owned <= infos or infos - owned - open_to != {"canary"}:
        raise Violation(f"{when}: collections {sorted(infos)}, not {sorted(owned)} and canary")
    for client in clients:
        for name, world in client.areas.items():
            if world.fading:
                client.areas[name] = type(world)(world.sure)
            client.compare(name)
    for name in SHARED:
        total = sum(len(client.areas[name].sure) for client in clients)
        found = clients[0].patient.collection(name).count()
        if found != total:
            raise Violation(f"{when}: {name} has {found} points, not {total}")


def summarize(
    clients: list[SoakClient],
    crasher: Crasher,
    took_s: float,
    violations: list[BaseException],
) -> None:
    operations, errors = Counter[str](), Counter[str]()
    for client in clients:
        operations += client.operations
        errors += client.errors
    if violations:
        for line in sorted([*crasher.trace[-50:], *(x for c in clients for x in c.trace)]):
            print(line, file=sys.stderr)
    for violation in violations:
        traceback.print_exception(violation)
    print(f"{operations.total():,} operations in {took_s:.0f} s: {told(operations)}")
    print(f"answered with an error: {told(errors) or 'none'}")
    print(f"of unknown outcome, looked up: {sum(client.unclear for client in clients)}")
    print(f"killed: {told(crasher.kills) or 'none'}; {told(crasher.faults)}")
    print(f"{len(violations)} violations")


def told(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common())


if __name__ == "__main__":
    sys.exit(main())
