"""The conditions of a node that no other part tells: its data, and its embedding worker."""

from __future__ import annotations

from collections.abc import Iterator

from vecdb.conditions import Condition
from vecdb.database import Database
from vecdb.embed.channel import WorkerState

MAP_NEAR, READERS_NEAR = 0.9, 0.8
NAMED_MAX = 10


def data_conditions(database: Database) -> Iterator[Condition]:
    """Yield what is not well with the data: what is quarantined, the maps, the room for more."""
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
    yield from database.room.conditions()


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


def _listed(things: dict[str, str]) -> str:
    """Return names with reasons, not without end."""
    shown = [f"{name} ({reason})" for name, reason in list(things.items())[:NAMED_MAX]]
    more = len(things) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")
