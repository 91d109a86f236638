"""What each call needs: an action, and the collections that its request names.

A call that is not listed is refused to all but those who may do everything. The name that is asked
for is the one that is checked, be it an alias: whoever may point an alias at a collection may let
others read it under that name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vecdb.auth.scopes import ACTIONS, ADMIN, MANAGE, MODELS, READ, WRITE, Principal

Need = tuple[str, str | None]
"""An action, and the collection that it is done to: None for what belongs to none, "*" for all."""

Needs = Callable[[Any], Sequence[Need]]


@dataclass(frozen=True, slots=True)
class Access:
    """What a call needs. changes: whether it is written to the audit log though it was allowed."""

    needs: Needs
    changes: bool = False

    def check(self, principal: Principal, request: Any) -> None:  # noqa: ANN401
        """Raise PermissionDenied unless the caller may do this."""
        for action, name in self.needs(request):
            principal.check(action, name)

    def collections(self, request: Any) -> list[str]:  # noqa: ANN401
        """Return the collections that a request names."""
        return [name for _, name in self.needs(request) if name is not None]


def _on_collection(action: str) -> Needs:
    return lambda request: ((action, request.collection),)


def _on_name(action: str) -> Needs:
    return lambda request: ((action, request.name),)


def _on_none(action: str) -> Needs:
    need = ((action, None),)
    return lambda request: need


def _on_all(*actions: str) -> Needs:
    needs = tuple((action, "*") for action in actions)
    return lambda request: needs


def _on_each(action: str) -> Needs:
    """Return the need of a call that names collections, or none for all."""
    return lambda request: [(action, name) for name in request.collections or ("*",)]


def _aliases(request: Any) -> Sequence[Need]:  # noqa: ANN401
    """Return the aliases that are set or deleted, and what they are to stand for."""
    names = {one.delete.alias for one in request.actions if one.HasField("delete")}
    for one in request.actions:
        if one.HasField("set"):
            names |= {one.set.alias, one.set.collection}
    return [(MANAGE, name) for name in sorted(names)]


_READS = Access(_on_collection(READ))
_WRITES = Access(_on_collection(WRITE), changes=True)
_MODELS = Access(_on_none(MODELS))

_CALLS: dict[str, Access] = {
    "Collections/Create": Access(
        lambda request: ((MANAGE, request.collection.name),), changes=True
    ),
    "Collections/Get": Access(_on_name(READ)),
    # What the caller may not read is left out of the lists.
    "Collections/List": Access(_on_none(READ)),
    "Collections/ListAliases": Access(lambda request: ((READ, request.collection or None),)),
    "Collections/Update": Access(_on_name(MANAGE), changes=True),
    "Collections/Truncate": Access(_on_name(MANAGE), changes=True),
    "Collections/Clone": Access(
        lambda request: ((READ, request.name), (MANAGE, request.new_name)), changes=True
    ),
    "Collections/Delete": Access(_on_name(MANAGE), changes=True),
    "Collections/Stats": Access(_on_name(READ)),
    "Collections/Compact": Access(_on_name(MANAGE), changes=True),
    "Collections/SetAliases": Access(_aliases, changes=True),
    "Points/Write": _WRITES,
    "Points/WriteStream": Access(
        lambda request: ((WRITE, request.write.collection),), changes=True
    ),
    "Points/DeleteWhere": _WRITES,
    "Points/PatchWhere": _WRITES,
    "Points/Get": _READS,
    "Points/Count": _READS,
    "Points/List": _READS,
    "Points/Export": _READS,
    "Points/Watch": _READS,
    "Points/Aggregate": _READS,
    "Search/Query": _READS,
    "Search/QueryBatch": _READS,
    "Search/Explain": Access(lambda request: ((READ, request.query.collection),)),
    "Documents/Put": _WRITES,
    "Documents/Delete": _WRITES,
    "Documents/Get": _READS,
    "Documents/List": _READS,
    "Documents/Context": _READS,
    "Documents/Answer": Access(lambda request: ((READ, request.context.collection),)),
    # The id of a question is known to who asked it, and names no collection.
    "Documents/Feedback": Access(_on_none(READ), changes=True),
    "Documents/Replay": _READS,
    "Models/List": _MODELS,
    "Models/Embed": _MODELS,
    "Models/Rerank": _MODELS,
    "Models/Tokenize": _MODELS,
    "Models/Load": Access(_on_all(ADMIN), changes=True),
    "Models/Unload": Access(_on_all(ADMIN), changes=True),
    "Models/Reembed": Access(_on_collection(MANAGE), changes=True),
    "Admin/EstimateRecall": Access(_on_collection(ADMIN)),
    # What is read of everything is written to the audit log, too.
    "Admin/Backup": Access(_on_each(ADMIN), changes=True),
    "Admin/Restore": Access(_on_all(ADMIN), changes=True),
    "Admin/Check": Access(_on_each(ADMIN)),
    "Admin/Status": Access(_on_all(ADMIN)),
    # Not secret to who may do anything here at all: it is told by the refusals, too.
    "Admin/Limits": Access(_on_none(READ)),
    "Admin/CreateKey": Access(_on_all(ADMIN), changes=True),
    "Admin/ListKeys": Access(_on_all(ADMIN)),
    "Admin/RevokeKey": Access(_on_all(ADMIN), changes=True),
    "Admin/RotateKey": Access(_on_all(ADMIN), changes=True),
}
LISTED = frozenset(_CALLS)
_UNLISTED = Access(_on_all(*ACTIONS), changes=True)


def access_of(call: str) -> Access:
    """Return what a call needs. call: such as ``Points/Write``."""
    return _CALLS.get(call, _UNLISTED)
