"""Keys in the catalog: their commands give the same rows everywhere, and nothing of a secret."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from vecdb.auth.keys import Keys, KeysOnDisk, digest_of
from vecdb.auth.scopes import ACTIONS
from vecdb.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    ReadOnly,
)
from vecdb.storage.catalog import Catalog
from vecdb.storage.catalog_command import CatalogCommand, decode_catalog_command
from vecdb.storage.keys import CreateKey, RevokeKey


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    made = Catalog(tmp_path / "catalog", read_only=False)
    yield made
    made.close()


@pytest.fixture
def keys(catalog: Catalog) -> Keys:
    return Keys(catalog, threading.Lock(), 3)


def test_a_secret_has_256_bits_and_is_kept_as_its_hash(keys: Keys, tmp_path: Path) -> None:
    made = keys.create("one", ["read"])
    assert made.secret.startswith(f"vecdb_{made.record.id}_")
    assert len(made.secret.rpartition("_")[2]) == 64
    assert keys.all()[0].digest == digest_of(made.secret)
    assert made.secret not in repr(made)
    assert made.secret.encode() not in (tmp_path / "catalog" / "data.mdb").read_bytes()


def test_there_are_as_many_live_keys_as_the_limit_says(keys: Keys) -> None:
    made = [keys.create(f"{n}", ["read"]) for n in range(3)]
    with pytest.raises(LimitExceeded, match=r"limits\.keys"):
        keys.create("more", ["read"])
    keys.revoke(made[0].record.id)
    keys.create("more", ["read"])
    assert [one.number for one in keys.all()] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "actions", "collections"),
    [
        ("", ["read"], []),
        ("x" * 257, ["read"], []),
        ("a\nb", ["read"], []),
        ("a", [], []),
        ("a", ["fly"], []),
        ("a", ["read"], ["with space"]),
        ("a", ["read"], ["**"]),
        ("a", ["read"], ["a*b"]),
        ("a", ["read"], [f"c{n}" for n in range(101)]),
    ],
)
def test_keys_that_mean_nothing_are_refused(
    keys: Keys, name: str, actions: list[str], collections: list[str]
) -> None:
    with pytest.raises(InvalidArgument):
        keys.create(name, actions, collections)
    assert keys.all() == []
    assert keys.state() == b""


def test_the_last_key_that_makes_keys_stays_unless_there_are_other_ways(keys: Keys) -> None:
    root = keys.create("root", ACTIONS)
    passing = keys.create("passing", ACTIONS, ttl_ms=100_000)
    with pytest.raises(FailedPrecondition):
        keys.revoke(root.record.id)
    keys.revoke(passing.record.id)
    keys.revoke(root.record.id, others=True)
    with pytest.raises(NotFound):
        keys.revoke("nosuchkey")
    with pytest.raises(FailedPrecondition, match="ended"):
        keys.rotate(root.record.id, 0)


def test_two_catalogs_that_apply_the_same_log_hold_the_same_keys(
    catalog: Catalog, keys: Keys, tmp_path: Path
) -> None:
    log: list[bytes] = []
    apply = catalog.apply

    def logged(command: CatalogCommand) -> None:
        apply(command)
        log.append(command.encode())

    catalog.apply = logged  # type: ignore[method-assign]
    one = keys.create("one", ["read", "write"], ["docs-*"], ttl_ms=5_000, calls_per_s=7)
    keys.rotate(one.record.id, 1_000)
    keys.revoke(one.record.id)
    other = Catalog(tmp_path / "other", read_only=False)
    for encoded in log:
        command = decode_catalog_command(encoded)
        assert command.encode() == encoded
        other.apply(command)
    assert other.keys() == catalog.keys()
    assert (other.state(), other.keys_state()) == (catalog.state(), catalog.keys_state())
    other.close()


def test_a_command_that_cannot_be_applied_changes_nothing(catalog: Catalog, keys: Keys) -> None:
    made = keys.create("one", ["read"]).record
    before = catalog.state()
    for command in (
        CreateKey(made),
        CreateKey(replace(made, id="another"), replaces="nosuchkey"),
        RevokeKey("nosuchkey", 5),
    ):
        with pytest.raises((AlreadyExists, NotFound)):
            catalog.apply(command)
    assert catalog.state() == before
    assert keys.all() == [made]


def test_a_directory_that_another_process_writes_is_read(tmp_path: Path) -> None:
    elsewhere = KeysOnDisk(tmp_path)
    assert elsewhere() is None
    catalog = Catalog(tmp_path / "catalog", read_only=False)
    made = Keys(catalog, threading.Lock(), 3).create("one", ["read"])
    catalog.close()
    found = elsewhere()
    assert found is not None
    assert found.state()
    assert found.all() == [made.record]
    with pytest.raises(ReadOnly):
        found.create("two", ["read"])
    elsewhere.close()
