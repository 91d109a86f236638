"""The conditions of a node that no other part tells: its data, disk, memory maps, embedding worker.

Condition and Conditions are those of vecdb.conditions, where every room may import them from.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from vecdb.conditions import Condition, Conditions, ready_text, worst
from vecdb.config import Config
from vecdb.database import Database
from vecdb.embed.channel import WorkerState

__all__ = [
    "Condition",
    "Conditions",
    "data_conditions",
    "embedding_conditions",
    "ready_text",
    "worst",
]

DISK_NEAR = 4
"""The disk is nearly full below so many times `storage.disk_reserve_bytes`, or DISK_SHARE of it."""
DISK_SHARE = 0.05
MAP_NEAR, READERS_NEAR = 0.9, 0.8
NAMED_MAX = 10


def data_conditions(database: Database, config: Config) -> Iterator[Condition]:
    """Yield what is not well with the data: what is quarantined, the disk, the maps."""
    health = database.opened.health()
    if health.quarantined:
        yield Condition(
            "collections",
            "error",
            f"{len(health.quarantined)} quarantined: {_listed(health.quarantined)}",
            "run vecdb check, or restore them from a backup; the others serve",
        )
    if health.segments:
        yield Condition(
            "segments",
            "warning",
            f"files are damaged and not used: {_listed(health.segments)}",
            "they are built again from the store; look at the disk if this comes back",
        )
    if health.failing:
        yield Condition(
            "builds",
            "warning",
            f"builds or checks fail: {_listed(health.failing)}",
            "they are tried again; free disk and memory, and see the log",
        )
    name, share = health.fullest_map
    if share >= MAP_NEAR:
        yield Condition(
            "maps",
            "warning",
            f"the map of {name} is {share:.0%} full and has not grown",
            "it grows by itself unless address space is limited: see ulimit -v",
        )
    name, share = health.fullest_readers
    if share >= READERS_NEAR:
        yield Condition(
            "readers",
            "warning",
            f"{share:.0%} of the slots for readers of {name} are taken",
            "stop programs that open the data directory beside this node",
        )
    reached = database.room.disk_is_reached()
    yield from _disk(Path(config.server.data), config.storage.disk_reserve_bytes, reached)


def embedding_conditions(state: WorkerState, *, enabled: bool) -> Iterator[Condition]:
    """Yield why texts cannot be encoded. enabled: whether they are meant to be."""
    if enabled and not state.ready:
        yield Condition(
            "embedding",
            "warning",
            state.reason,
            "vectors are served; if it does not come back, see the log and vecdb models list",
        )
    for name, reason in state.models.items() if state.ready else ():
        if reason:
            advice = f"see vecdb models show {name}"
            yield Condition("embedding", "warning", f"{name}: {reason}", advice)


def _disk(data: Path, reserve_bytes: int, reached: bool) -> Iterator[Condition]:
    disk = os.statvfs(data)
    free, whole = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    said = f"{free >> 20:,} MiB of {whole >> 20:,} MiB are free"
    advice = "free space on the data directory's file system, or move it to a larger one"
    if reached:
        yield Condition("disk", "error", f"{said}: puts are refused, deletes work", advice)
    elif free < max(DISK_NEAR * reserve_bytes, DISK_SHARE * whole):
        yield Condition(
            "disk", "warning", f"{said}; puts are refused below {reserve_bytes >> 20:,} MiB", advice
        )


def _listed(things: dict[str, str]) -> str:
    """Return names with reasons, not without end."""
    shown = [f"{name} ({reason})" for name, reason in list(things.items())[:NAMED_MAX]]
    more = len(things) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")
