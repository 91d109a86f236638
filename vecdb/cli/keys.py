"""`vecdb keys`: who may call a server, what, and how much.

Of a running server by a key that may do `admin`; of a data directory, with --data, by who may read
its files, while no server runs on it. So the first key is made.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.table import Table
from rich.text import Text

from vecdb.auth.keys import Keys
from vecdb.auth.scopes import ACTIONS
from vecdb.cli.client_commands import DEFAULT_ADDRESS, Address, connect
from vecdb.cli.screen import bytes_text, err, out
from vecdb.errors import InvalidArgument
from vecdb.storage.keys import KeyRecord
from vecdb_client import Action, Client, KeyInfo, NewKey

keys = typer.Typer(no_args_is_help=True, help="Make, list, replace and revoke API keys.")

Data = Annotated[
    Path | None,
    typer.Option(
        file_okay=False, help="A data directory, instead of a server that is running on it."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, a key a line.")]

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d{1,6})([smhdw])")
_UNITS_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"(\d{1,12})([kmgt]?)(?:i?b)?", re.IGNORECASE)


class _Offline:
    """The keys of a data directory that no server runs on, as a client has those of one."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def create_key(
        self,
        name: str,
        actions: list[Action],
        *,
        collections: list[str],
        ttl_s: float | None,
        calls_per_s: int | None,
        bytes_per_day: int | None,
    ) -> NewKey:
        made = self._keys.create(
            name,
            actions,
            collections,
            ttl_ms=round((ttl_s or 0) * 1000),
            calls_per_s=calls_per_s or 0,
            bytes_per_day=bytes_per_day or 0,
        )
        return NewKey(_info(made.record), made.secret)

    def list_keys(self, *, with_revoked: bool) -> list[KeyInfo]:
        return [_info(one) for one in self._keys.all() if with_revoked or not one.revoked_at_ms]

    def revoke_key(self, key_id: str) -> KeyInfo:
        return _info(self._keys.revoke(key_id, others=True))

    def rotate_key(self, key_id: str, *, keep_s: float) -> NewKey:
        made = self._keys.rotate(key_id, round(keep_s * 1000))
        return NewKey(_info(made.record), made.secret)


@contextmanager
def _table(address: str, data: Path | None) -> Iterator[Client | _Offline]:
    if data is None:
        with connect(address) as client:
            yield client
        return
    # Only now: it takes a second to load what opens a data directory.
    from vecdb.config import LimitsConfig, StorageConfig
    from vecdb.database import Database

    database = Database(data, StorageConfig(), LimitsConfig())
    try:
        yield _Offline(database.keys)
    finally:
        database.close()


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Who holds it, for people to read.")],
    allow: Annotated[
        str, typer.Option(help=f"What it may do: all, or some of {','.join(ACTIONS)}.")
    ],
    collections: Annotated[
        str, typer.Option(help="On which, such as 'docs,blog-*'; aliases count by their names.")
    ] = "*",
    expires: Annotated[str, typer.Option(help="After how long, such as 90d; never without.")] = "",
    calls_per_s: Annotated[
        int | None, typer.Option("--calls-per-s", min=1, help="The most calls a second.")
    ] = None,
    bytes_per_day: Annotated[
        str, typer.Option(help="The most bytes of requests a day (UTC), such as 10GiB.")
    ] = "",
    data: Data = None,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Make a key and print its secret, alone on standard output: it is shown this once.

    The first key of a server is made with --data while it is stopped; from then on it takes no call
    without one.
    """
    words = list(ACTIONS) if allow.strip() == "all" else _words(allow)
    actions = cast("list[Action]", words)  # which whoever makes the key checks
    with _table(address, data) as table:
        made = table.create_key(
            name,
            actions,
            collections=_words(collections),
            ttl_s=_seconds(expires, "--expires") if expires else None,
            calls_per_s=calls_per_s,
            bytes_per_day=_bytes(bytes_per_day) if bytes_per_day else None,
        )
    _print_secret(made)


@keys.command("list")
def list_keys(
    revoked: Annotated[bool, typer.Option("--revoked", help="Revoked ones, too.")] = False,
    as_json: AsJson = False,
    data: Data = None,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Show the keys, what they may do, and until when."""
    with _table(address, data) as table:
        found = table.list_keys(with_revoked=revoked)
    if as_json:
        for one in found:
            typer.echo(json.dumps(asdict(one)))
        return
    shown = Table()
    for title in ("id", "name", "may", "on", "made", "until", "limits"):
        shown.add_column(title, no_wrap=title in ("id", "made", "until"))
    for one in found:
        shown.add_row(
            one.id,
            Text(one.name),
            "all" if set(one.actions) == set(ACTIONS) else ", ".join(one.actions),
            Text(", ".join(one.collections)),
            _day(one.created_at),
            _until(one),
            _limits(one),
        )
    out.print(shown)


@keys.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="Its id; see vecdb keys list.")],
    data: Data = None,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """End a key: no call that begins afterwards is taken with it."""
    with _table(address, data) as table:
        ended = table.revoke_key(key_id)
    out.print(Text(f"revoked {ended.id} ({ended.name})"))


@keys.command("rotate")
def rotate(
    key_id: Annotated[str, typer.Argument(help="Its id; see vecdb keys list.")],
    keep: Annotated[
        str, typer.Option(help="How long the old one is good beside the new one, such as 1d.")
    ] = "",
    data: Data = None,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Make a key in place of another, and print its secret: the old one ends by itself."""
    with _table(address, data) as table:
        made = table.rotate_key(key_id, keep_s=_seconds(keep, "--keep") if keep else 0.0)
    _print_secret(made)


def _print_secret(made: NewKey) -> None:
    info = made.info
    err.print(
        Text(f"key {info.id} ({info.name}); keep its secret, which is not shown again", "green")
    )
    typer.echo(made.secret)


def _words(text: str) -> list[str]:
    return [word for word in (part.strip() for part in text.split(",")) if word]


def _seconds(text: str, option: str) -> float:
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise InvalidArgument(f"{option} {text!r}: expected a number and s, m, h, d or w: 90d")
    return float(int(found[1]) * _UNITS_S[found[2]])


def _bytes(text: str) -> int:
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise InvalidArgument(f"--bytes-per-day {text!r}: expected a size such as 10GiB")
    return int(found[1]) * _UNITS_BYTES[found[2].lower()]


def _day(time_s: float) -> str:
    return datetime.datetime.fromtimestamp(time_s).strftime("%Y-%m-%d")


def _until(one: KeyInfo) -> Text:
    if one.revoked_at is not None:
        return Text(f"revoked {_day(one.revoked_at)}", "red")
    if one.expires_at is None:
        return Text("it is revoked", "dim")
    ended = one.expires_at <= datetime.datetime.now().timestamp()
    return Text(_day(one.expires_at), "red" if ended else "")


def _limits(one: KeyInfo) -> str:
    parts = [f"{one.calls_per_s} calls/s"] if one.calls_per_s else []
    if one.bytes_per_day:
        parts.append(f"{bytes_text(one.bytes_today)} of {bytes_text(one.bytes_per_day)} today")
    return ", ".join(parts)


def _info(record: KeyRecord) -> KeyInfo:
    """Return a row of the catalog as the client gives it."""
    return KeyInfo(
        record.id,
        record.name,
        record.actions,
        record.collections,
        record.created_at_ms / 1000,
        record.expires_at_ms / 1000 if record.expires_at_ms else None,
        record.revoked_at_ms / 1000 if record.revoked_at_ms else None,
        record.calls_per_s or None,
        record.bytes_per_day or None,
        0,
    )
