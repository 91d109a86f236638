"""A store of its own for a test, commands applied to it, and all that it holds."""

from __future__ import annotations

import hashlib
from pathlib import Path

import lmdb

from vecdb.config import LimitsConfig
from vecdb.outcomes import WriteOutcome
from vecdb.storage.command import WriteCommand
from vecdb.storage.numbered import NumberedSchema
from vecdb.storage.store import Store
from vecdb.types import Metric, Schema, Space, SparseSpace
from vecdb.write.apply import apply

LIMITS = LimitsConfig()
SCHEMA = Schema(
    (Space("", 3, Metric.COSINE), Space("b", 2, Metric.DOT)), (SparseSpace("s"), SparseSpace("t"))
)


def store_at(path: Path) -> Store:
    Store.create(path, NumberedSchema.of(SCHEMA), map_bytes=1 << 22)
    return Store(path, read_only=False, map_bytes=1 << 22)


def run(store: Store, command: WriteCommand, keep: int = 16) -> WriteOutcome:
    digest = hashlib.sha256(command.encode()).digest()
    with store.write() as txn:
        return apply(txn, command, digest, keep)


def contents(store: Store) -> dict[bytes, list[tuple[bytes, bytes]]]:
    environment: lmdb.Environment = store.environment.env
    with environment.begin() as txn:
        return {
            name: [(bytes(k), bytes(v)) for k, v in txn.cursor(db=db)]
            for name, db in store.environment.databases.items()
        }
