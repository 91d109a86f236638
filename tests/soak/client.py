"""A client that does anything to a node, one thing after the other, and holds it to its word.

Each has points of its own in collections that all share, and collections of its own. Of a write
whose answer did not come it asks afterwards: it must have been done whole, or not at all.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from tests.soak.area import DIM, Held, Violation, World
from vecdb_client import (
    NO_RETRIES,
    AlreadyExists,
    Client,
    Collection,
    Delete,
    F,
    NotFound,
    OutOfRange,
    Patch,
    Point,
    Retries,
    VecdbError,
)

SHARED = ("shared-euclid", "shared-cosine")
FORGIVEN = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED", "ABORTED"}
SERVED_S = 150.0
"""Seconds within which a node must answer a read again, whatever happens to it."""
LATE_S = 2.0
"""Seconds after which a write that was cut off is over, whatever became of it."""
POINTS_MAX = 400


class SoakClient:
    """One client. stop: set at the end, or once somebody found a violation."""

    def __init__(self, number: int, seed: str, address: str, stop: threading.Event) -> None:
        self.number = number
        self.rng = random.Random(seed)
        self.numbers = np.random.default_rng(self.rng.randrange(1 << 32))
        self.patient = Client(address, retries=Retries(attempts_max=200), timeout_s=SERVED_S)
        self.hasty = Client(address, retries=NO_RETRIES, timeout_s=20)
        self.stop = stop
        self.areas = {name: World() for name in SHARED}
        self.gone: set[str] = set()  # collections that may be there or not
        self.generation = itertools.count()
        self.operations: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.unclear = 0
        self.trace: deque[str] = deque(maxlen=200)
        self.violation: BaseException | None = None

    # --- a life

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                self.step()
        except BaseException as error:
            self.violation = error
            self.stop.set()

    def step(self) -> None:
        rare: list[Callable[[], None]] = [self.own, self.clone, self.truncate, self.drop]
        usual: list[Callable[[], None]] = [
            *[self.put] * 5,
            *[self.patch] * 2,
            *[self.delete] * 2,
            self.delete_where,
            self.patch_where,
            *[self.get] * 2,
            *[self.search] * 4,
            self.count,
            self.list,
            self.watch,
            self.names,
        ]
        do = self.rng.choice(rare if self.rng.random() < 0.06 else usual)
        self.say(do.__name__)
        self.operations[do.__name__] += 1
        with self.forgiving():
            do()

    def say(self, what: str) -> None:
        self.trace.append(f"{time.monotonic():.3f} client {self.number}: {what}")

    @contextmanager
    def forgiving(self) -> Iterator[None]:
        """Let pass what may happen to a read or a write in hard times, and nothing else."""
        try:
            yield
        except VecdbError as error:
            self.forgive(error)

    def forgive(self, error: VecdbError) -> None:
        self.say(f"{error.code}: {error}"[:300])
        if error.code not in FORGIVEN:
            raise Violation(f"{error.call} ended with {error.code}: {error}") from error
        self.errors[error.code] += 1

    def pick(self) -> tuple[str, World]:
        return self.rng.choice(list(self.areas.items()))

    def mine(self) -> object:
        return F("owner") == self.number

    # --- writes

    def write(
        self, name: str, operations: Sequence[Point | Patch | Delete], after: World
    ) -> int | None:
        """Write a batch; return its number, or None when it was refused or its answer lost."""
        touched = [operation.id for operation in operations]
        self.say(f"write {name} {touched[:5]} ... {len(touched)}")
        retried = self.rng.random() < 0.4
        client = self.patient if retried else self.hasty
        try:
            report = client.collection(name).write(operations, atomic=True, parallel=1)
        except VecdbError as error:
            self.forgive(error)
            if error.code == "RESOURCE_EXHAUSTED" and not retried:
                return None  # refused: checked by whatever reads it next
            self.resolve(name, touched, after)
            return None
        self.areas[name] = after
        return report.commit_seq

    def resolve(self, name: str, touched: list[str], after: World) -> None:
        """Find out what became of a write: all of it or nothing."""
        self.unclear += 1
        found = self.look(name, touched)
        before = self.areas[name]
        fits = [
            world
            for world in (after, before)
            if all(world.fits(each, found.get(each)) for each in touched)
        ]
        if not fits:
            told = {each: found.get(each) for each in touched}
            raise Violation(f"a batch was applied in part, or wrongly: {name} {told}")
        self.areas[name] = fits[0]
        self.say(f"resolved: {'done' if fits[0] is after else 'not done'}")

    def look(self, name: str, names: list[str]) -> dict[str, object]:
        """Return points as they are once what was cut off is over."""
        time.sleep(LATE_S)
        collection = self.patient.collection(name)
        collection.delete(f"barrier-{self.number}")  # what comes after it in the writer's queue
        return {point.id: point for point in collection.get(names, with_vectors=True).points}

    def made(self, count: int) -> dict[str, Held]:
        first = self.rng.randrange(POINTS_MAX)
        names = [f"{self.number}-{(first + at) % POINTS_MAX}" for at in range(count)]
        vectors = self.numbers.normal(size=(count, DIM)).astype(np.float32)
        words = ("red", "blue", "船", "")
        return {
            name: Held(
                {
                    "owner": self.number,
                    "n": self.rng.randrange(100),
                    "word": self.rng.choice(words),
                    "filling": "x" * self.rng.choice((0, 0, 100, 3_000)),
                },
                vector,
            )
            for name, vector in zip(names, vectors, strict=True)
        }

    def put(self) -> None:
        name, world = self.pick()
        points = self.made(self.rng.choice((1, 1, 5, 30, 120)))
        ttl_s = self.rng.choice((None, None, None, None, 0.5, 4.0))
        operations = [
            Point(id=each, vector=held.vector, payload=held.payload, ttl_s=ttl_s)
            for each, held in points.items()
        ]
        self.write(name, operations, world.with_points(points, fading=ttl_s is not None))

    def patch(self) -> None:
        name, world = self.pick()
        if not world.sure:
            return
        chosen = self.rng.sample(sorted(world.sure), min(len(world.sure), self.rng.choice((1, 8))))
        n = self.rng.randrange(100)
        changed = {each: self.patched(world.sure[each], n) for each in chosen}
        operations = [Patch(each, set={"n": n}, unset=["filling"]) for each in chosen]
        self.write(name, operations, world.with_points(changed, fading=False))

    def patched(self, held: Held, n: int) -> Held:
        payload = {key: value for key, value in held.payload.items() if key != "filling"}
        return Held({**payload, "n": n}, held.vector)

    def delete(self) -> None:
        name, world = self.pick()
        known = sorted(world.sure) + sorted(world.fading)
        if known:
            chosen = self.rng.sample(known, min(len(known), self.rng.choice((1, 10, 60))))
            self.write(name, [Delete(each) for each in chosen], world.without(chosen))

    def delete_where(self) -> None:
        name, world = self.pick()
        n = self.rng.randrange(100)
        # What had expired is not matched, and may be seen again when the clock is set back.
        chosen = [each for each, held in world.sure.items() if held.payload["n"] == n]
        after = world.without(chosen)
        self.say(f"{name} n={n}: {chosen[:5]} ... {len(chosen)}")
        try:
            self.hasty.collection(name).delete_where(self.mine() & (F("n") == n))
            self.areas[name] = after
        except VecdbError as error:
            self.forgive(error)
            self.areas[name] = world.settled(after, self.look(name, chosen), chosen)

    def patch_where(self) -> None:
        name, world = self.pick()
        n, to = self.rng.sample(range(100), 2)
        chosen = {each: held for each, held in world.sure.items() if held.payload["n"] == n}
        fading = {each: held for each, held in world.fading.items() if held.payload["n"] == n}
        moved = {each: self.patched(held, to) for each, held in chosen.items()}
        # What expires may be patched while it is there.
        after = world.with_points(moved, fading=False).without(fading)
        self.say(f"{name} n={n} to {to}: {sorted(chosen)[:5]} ... {len(chosen)}")
        try:
            if fading:
                self.write(name, [Delete(each) for each in fading], world.without(fading))
                return
            self.hasty.collection(name).patch_where(
                self.mine() & (F("n") == n), set={"n": to}, unset=["filling"]
            )
            self.areas[name] = after
        except VecdbError as error:
            self.forgive(error)
            names = list(chosen)
            self.areas[name] = world.settled(after, self.look(name, names), names)

    # --- reads

    def get(self) -> None:
        name, world = self.pick()
        names = [f"{self.number}-{self.rng.randrange(POINTS_MAX + 5)}" for _ in range(20)]
        found = {
            point.id: point
            for point in self.patient.collection(name).get(names, with_vectors=True).points
        }
        for each in names:
            if not world.fits(each, found.get(each)):
                raise Violation(
                    f"get {name}: {each} is {found.get(each)}, not {world.sure.get(each)}"
                )

    def search(self) -> None:
        name, world = self.pick()
        query = self.numbers.normal(size=DIM).astype(np.float32)
        if world.sure and self.rng.random() < 0.5:
            query = world.sure[self.rng.choice(sorted(world.sure))].vector
        exact, k = self.rng.random() < 0.5, self.rng.choice((1, 10, 50))
        found = self.patient.collection(name).search(query, k=k, filter=self.mine(), exact=exact)
        ids = [hit.id for hit in found]
        known = world.sure.keys() | world.fading.keys()
        if len(set(ids)) != len(ids) or not known.issuperset(ids):
            raise Violation(f"search {name} found {set(ids) - known}, or one twice: {ids}")
        if len(ids) < min(k, len(world.sure)):
            raise Violation(f"search {name} found {len(ids)} of {len(world.sure)}, asked for {k}")
        if exact and not world.fading and "euclid" in name:
            expected = [distance for distance, _ in world.nearest(query, k)]
            if not np.allclose([hit.distance for hit in found], expected, atol=1e-3):
                raise Violation(f"search {name}: {ids} are not the nearest")

    def count(self) -> None:
        name, world = self.pick()
        least = self.rng.randrange(100)
        found = self.patient.collection(name).count(self.mine() & (F("n") >= least))
        sure, fading = (
            sum(held.payload["n"] >= least for held in part.values())
            for part in (world.sure, world.fading)
        )
        if not sure <= found <= sure + fading:
            raise Violation(f"count {name}: {found} where {sure} to {sure + fading} are")

    def list(self) -> None:
        name, _ = self.pick()
        self.compare(name)

    def compare(self, name: str) -> None:
        """Hold all points of an area against the model."""
        points = self.patient.collection(name).list(self.mine(), with_vectors=True, page_size=100)
        self.areas[name].check(points, f"list {name}")

    def watch(self) -> None:
        """A write that was acknowledged comes to those who watch from before it."""
        name, world = self.rng.choice(SHARED), None
        world = self.areas[name]
        points = self.made(5)
        operations = [
            Point(id=each, vector=held.vector, payload=held.payload)
            for each, held in points.items()
        ]
        seq = self.write(name, operations, world.with_points(points, fading=False))
        if seq is None:
            return
        seen: set[str] = set()
        try:
            for changes in self.hasty.collection(name).watch(after_seq=seq - 1):
                seen.update(point.id for point in changes.points)
                if changes.commit_seq > seq or (changes.commit_seq == seq and changes.complete):
                    break
                if points.keys() <= seen:
                    break
        except OutOfRange:
            return
        if not points.keys() <= seen:
            raise Violation(f"watch {name} after {seq - 1} misses {points.keys() - seen}")

    # --- collections

    def until_done(self, what: Callable[[], object]) -> None:
        """Do what may be done twice until it is acknowledged."""
        until = time.monotonic() + SERVED_S
        while True:
            try:
                what()
                return
            except VecdbError as error:
                self.forgive(error)
                if time.monotonic() > until:
                    raise Violation(f"nothing helps for {SERVED_S} s: {error}") from error
            time.sleep(LATE_S)

    def name(self) -> str:
        return f"own-{self.number}-{next(self.generation)}"

    def own(self) -> None:
        if len(self.areas) > 5:
            return
        name = self.name()
        self.until_done(
            lambda: self.patient.create_collection(
                name, dim=DIM, metric="euclid", if_not_exists=True
            )
        )
        self.areas[name] = World()

    def picked(self) -> str | None:
        return self.rng.choice([None, *(name for name in self.areas if name not in SHARED)])

    def truncate(self) -> None:
        if name := self.picked():
            self.until_done(lambda: self.hasty.truncate_collection(name))
            self.areas[name] = World()

    def drop(self) -> None:
        if name := self.picked():
            self.gone.add(name)
            del self.areas[name]
            self.until_done(lambda: self.hasty.delete_collection(name, if_exists=True))

    def clone(self) -> None:
        if (source := self.picked()) is None:
            return
        name = self.name()
        self.gone.add(name)
        try:
            self.hasty.clone_collection(source, name)
        except VecdbError as error:
            self.forgive(error)
            time.sleep(LATE_S)
        else:
            copied = self.patient.collection(name).list(with_vectors=True)
            self.areas[source].check(copied, f"clone of {source}")
        self.until_done(lambda: self.hasty.delete_collection(name, if_exists=True))

    def names(self) -> None:
        if (name := self.picked()) is None:
            return
        alias = f"alias-{self.number}"
        self.until_done(lambda: self.hasty.set_aliases({alias: name}))
        world = self.areas[name]
        found = self.patient.collection(alias).count()
        if not len(world.sure) <= found <= len(world.sure) + len(world.fading):
            raise Violation(f"{found} points by the alias of {name}, not {len(world.sure)}")
        self.until_done(lambda: self.unname(alias))

    def unname(self, alias: str) -> None:
        try:
            self.hasty.set_aliases({alias: None})
        except NotFound:
            pass  # an attempt before it was done, and its answer lost

    def shared(self) -> None:
        """Make the collections that all share."""
        for name in SHARED:
            try:
                self.patient.create_collection(name, dim=DIM, metric=name.partition("-")[2])
            except AlreadyExists:
                continue

    def collection(self, name: str) -> Collection:
        return self.patient.collection(name)

    def close(self) -> None:
        self.patient.close()
        self.hasty.close()
