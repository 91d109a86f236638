"""How far a long command came, kept in a file beside its work until it is complete."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from vecdb.errors import InvalidArgument

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    State = TypeVar("State", bound=DataclassInstance)


def load(path: Path, kind: type[State]) -> State | None:
    """Return what was kept, or None. Raises InvalidArgument where it cannot be read."""
    try:
        return kind(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise InvalidArgument(
            f"{path} cannot be read: {error}", hint="use --restart to begin again"
        ) from None


def keep(path: Path, state: DataclassInstance) -> None:
    """Write it whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(asdict(state)))
    temporary.replace(path)
