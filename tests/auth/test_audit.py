"""The audit log: whole lines by many writers, through rotation, and not filled by strangers."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vecdb.auth import audit
from vecdb.auth.audit import AuditLog
from vecdb.errors import InvalidArgument


def add(log: AuditLog, *, method: str = "Points/Write", stranger: bool = False) -> None:
    log.write(
        method=method,
        key="" if stranger else "abc",
        peer="ipv4:127.0.0.1:5",
        collections=["docs"],
        request_id="r",
        result="UNAUTHENTICATED" if stranger else "OK",
        is_stranger=stranger,
    )


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_says_who_did_what(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    add(log)
    (line,) = lines(tmp_path / "audit.jsonl")
    assert str(line.pop("time")).endswith("Z")
    assert line == {
        "method": "Points/Write",
        "key": "abc",
        "peer": "ipv4:127.0.0.1:5",
        "collections": ["docs"],
        "request_id": "r",
        "result": "OK",
    }
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600


def test_lines_of_many_writers_are_whole(tmp_path: Path) -> None:
    logs = [AuditLog(tmp_path / "a") for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: add(logs[n % 4], method=f"call-{n}"), range(400)))
    assert {line["method"] for line in lines(tmp_path / "a")} == {f"call-{n}" for n in range(400)}


def test_a_file_that_was_moved_is_made_anew(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(audit, "LOOK_S", 0.0)
    log = AuditLog(tmp_path / "a")
    add(log, method="before")
    (tmp_path / "a").rename(tmp_path / "a.1")
    add(log, method="after")
    assert [line["method"] for line in lines(tmp_path / "a.1")] == ["before"]
    assert [line["method"] for line in lines(tmp_path / "a")] == ["after"]


def test_strangers_do_not_fill_the_disk(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(audit.time, "monotonic", lambda: 7.5)
    log = AuditLog(tmp_path / "a")
    for _ in range(1_000):
        add(log, stranger=True)
    add(log)
    found = lines(tmp_path / "a")
    assert len(found) == audit.REFUSALS_PER_S + 1
    assert found[-1]["left_out_before"] == 1_000 - audit.REFUSALS_PER_S


def test_a_file_that_cannot_be_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"audit\.file"):
        AuditLog(tmp_path / "absent" / "a")


def test_a_full_disk_is_told_once_and_stops_nobody(caplog) -> None:
    log = AuditLog(Path("/dev/full"))
    add(log)
    add(log)
    assert caplog.text.count("cannot be written") == 1
