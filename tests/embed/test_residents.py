"""Which models are in memory, over models that are numbers: loads are counted, time is a number."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from vecdb.embed import catalog, residents
from vecdb.embed.encoder import Execution
from vecdb.embed.residents import Residents
from vecdb.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument, Overloaded

SIZES = {"first": 10, "second": 20, "third": 30}


class Model:
    """A model that knows whether it is open."""

    def __init__(self, name):
        self.name, self.open = name, True

    def close(self):
        assert self.open
        self.open = False


class Shelf:
    """Loads models. Each load waits at the gate once it is closed."""

    def __init__(self):
        self.now = 0.0
        self.loads, self.began = [], threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.broken = set()

    def load(self, spec, execution):
        self.loads.append(spec.name)
        self.began.release()
        assert self.gate.wait(30)
        if spec.name in self.broken:
            raise FailedPrecondition("its files are odd")
        return Model(spec.name)


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def make(shelf, monkeypatch):
    monkeypatch.setattr(residents, "needed_bytes", lambda spec: SIZES[spec.name])
    monkeypatch.setattr(residents, "resident_bytes", lambda: 0)
    monkeypatch.setattr(catalog, "missing", lambda spec: "")
    base = catalog.load_catalog()["all-minilm-l6-v2"]
    specs = [dataclasses.replace(base, name=name, aliases=()) for name in SIZES]

    def build(memory_bytes=1000, idle_s=60.0):
        return Residents(
            specs,
            Execution(1),
            memory_bytes=memory_bytes,
            idle_s=idle_s,
            load=shelf.load,
            clock=lambda: shelf.now,
        )

    return build


def loaded(models):
    return [one.spec.name for one in models.states() if one.loaded]


def test_a_model_is_loaded_once_when_it_is_first_asked(make, shelf):
    models = make()
    for _ in range(3):
        with models.use("second") as model:
            assert model.name == "second"
    assert shelf.loads == ["second"]
    assert loaded(models) == ["second"]


def test_all_who_wait_for_a_load_get_it(make, shelf):
    models = make()
    shelf.gate.clear()

    def use(_):
        with models.use("first") as model:
            return model

    with ThreadPoolExecutor(8) as pool:
        using = [pool.submit(use, n) for n in range(8)]
        assert shelf.began.acquire(timeout=30)
        shelf.gate.set()
        assert len({one.result(30) for one in using}) == 1
    assert shelf.loads == ["first"]


def test_who_does_not_want_to_wait_for_a_load_is_told(make, shelf):
    models = make()
    shelf.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(models.load, "first")
        assert shelf.began.acquire(timeout=30)
        with (
            pytest.raises(DeadlineExceeded, match="first was not loaded in time"),
            models.use("first", deadline=shelf.now),
        ):
            pass
        shelf.gate.set()
        slow.result(30)
    assert loaded(models) == ["first"]


def test_preload_stops_where_there_is_no_room(make):
    models = make(memory_bytes=45)
    models.preload(everything=True)
    assert loaded(models) == ["first", "second"]


def test_the_default_alone_is_loaded_where_that_is_wanted(make):
    models = make()
    models.preload(everything=False)
    assert loaded(models) == ["first"]


def test_the_model_used_longest_ago_makes_room_and_the_default_last(make, shelf):
    models = make(memory_bytes=50)
    for name in ("first", "second"):
        shelf.now += 1
        with models.use(name):
            pass
    with models.use("third"):
        assert loaded(models) == ["first", "third"]
    with models.use("second"):
        assert loaded(models) == ["first", "second"]


def test_models_in_use_are_not_unloaded(make):
    models = make(memory_bytes=50)
    with models.use("first") as first, models.use("second") as second:
        with pytest.raises(Overloaded, match="no room for third") as caught, models.use("third"):
            pass
        assert caught.value.retry_after_s > 0
        assert models.unload("second")
        assert second.open
        assert first.open
    assert not second.open
    assert first.open
    assert loaded(models) == ["first"]


def test_a_model_larger_than_all_memory_is_refused(make):
    models = make(memory_bytes=25)
    with pytest.raises(FailedPrecondition, match=r"raise embed\.memory_bytes"), models.use("third"):
        pass


def test_an_idle_model_is_unloaded_and_comes_back(make, shelf):
    models = make(idle_s=60)
    models.preload(everything=True)
    shelf.now = 59
    with models.use("third"):
        shelf.now = 1000
        models.sweep()
        assert loaded(models) == ["first", "third"]
    models.sweep()
    assert loaded(models) == ["first", "third"]  # used just now
    with models.use("second"):
        pass
    assert shelf.loads == ["first", "second", "third", "second"]


def test_a_model_that_does_not_load_says_why_and_is_tried_again_when_asked(make, shelf):
    models = make()
    shelf.broken.add("second")
    models.preload(everything=True)
    assert loaded(models) == ["first", "third"]
    with pytest.raises(FailedPrecondition, match="its files are odd"), models.use("second"):
        pass
    assert shelf.loads.count("second") == 1
    shelf.broken.clear()
    models.load("second")
    assert loaded(models) == ["first", "second", "third"]
    assert models.load("second") == 0.0


def test_a_model_that_is_not_there_is_named(make):
    with pytest.raises(InvalidArgument, match="no model 'fourth'"):
        make().find("fourth")


def test_close_closes_them(make):
    models = make()
    with models.use("first") as model:
        pass
    models.close()
    assert not model.open
    assert not models.unload("first")
