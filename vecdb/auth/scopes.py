"""What a caller may do: actions on collections, of a key or of a token."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from vecdb.errors import InvalidArgument, PermissionDenied
from vecdb.write.schema import is_name

READ, WRITE, MANAGE = "read", "write", "manage"
MODELS, ADMIN, METRICS = "models", "admin", "metrics"
ACTIONS = (READ, WRITE, MANAGE, MODELS, ADMIN, METRICS)
COLLECTIONS_MAX = 100
"""Collections, or beginnings of names, that a key may name."""


class Grant:
    """Actions, and the collections that they are allowed on."""

    def __init__(self, actions: Iterable[str], collections: Iterable[str]) -> None:
        """Take what check_actions and check_collections let pass."""
        self._actions = frozenset(actions)
        names = tuple(collections)
        self._names = frozenset(name for name in names if not name.endswith("*"))
        self._beginnings = tuple(name[:-1] for name in names if name.endswith("*"))

    def allows(self, action: str, collection: str | None) -> bool:
        """Return whether an action is allowed on a collection, as a call names it.

        None: on something that belongs to none. "*": on all there are.
        """
        if action not in self._actions:
            return False
        return (
            collection is None
            or collection in self._names
            or collection.startswith(self._beginnings)  # "*", only where all are meant
        )


@dataclass(frozen=True, slots=True, eq=False)
class Principal:
    """A caller. id: what logs call it, "" where nobody is asked who they are.

    number: its row in the counts of what is used, -1 for none. calls_per_s, bytes_per_day: 0 for
    any number. expires_at_s: in seconds since 1970.
    """

    id: str
    grants: tuple[Grant, ...]
    expires_at_s: float = math.inf
    number: int = -1
    calls_per_s: int = 0
    bytes_per_day: int = 0

    @property
    def is_limited(self) -> bool:
        """Whether what it uses is counted."""
        return bool(self.calls_per_s or self.bytes_per_day)

    def may(self, action: str, collection: str | None) -> bool:
        """Return whether it is allowed; see Grant.allows."""
        return any(grant.allows(action, collection) for grant in self.grants)

    def check(self, action: str, collection: str | None) -> None:
        """Raise PermissionDenied unless it is allowed. Does not say whether there is such a one."""
        if self.may(action, collection):
            return
        on = "" if collection is None else f" on {collection!r}"
        raise PermissionDenied(
            f"{self.id} may not {action}{on}",
            hint="ask who runs this server for a key with that action; see vecdb keys create",
            action=action,
        )


ANYBODY = Principal("", (Grant(ACTIONS, ("*",)),))
"""Who calls a server that has no keys: it may do all."""


def check_actions(actions: Iterable[str], field: str) -> tuple[str, ...]:
    """Return actions in order, each once. Raises InvalidArgument for none, and unknown ones."""
    given = set(actions)
    unknown = sorted(given - set(ACTIONS))
    if unknown or not given:
        what = f"unknown: {', '.join(unknown)}" if unknown else "there are none"
        raise InvalidArgument(
            f"{field}: {what}", field=field, hint=f"expected some of {', '.join(ACTIONS)}"
        )
    return tuple(action for action in ACTIONS if action in given)


def check_collections(collections: Iterable[str], field: str) -> tuple[str, ...]:
    """Return names and beginnings of names, sorted. Raises InvalidArgument."""
    given = sorted(set(collections))
    if len(given) > COLLECTIONS_MAX:
        raise InvalidArgument(
            f"{field}: {len(given)}, at most {COLLECTIONS_MAX}",
            field=field,
            hint="name them by a beginning that they share, such as docs-*",
        )
    for name in given:
        beginning = name[:-1] if name.endswith("*") else name
        if name != "*" and not is_name(beginning):
            raise InvalidArgument(
                f"{field}: {name!r} is no collection's name, nor the beginning of one and '*'",
                field=field,
            )
    return tuple(given)
