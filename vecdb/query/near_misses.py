"""What may not have been meant by a path at which no point holds what is asked for."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from vecdb.query.sources import Source

SUGGESTIONS = 3
SUGGEST_CHARACTERS_MAX = 64
"""Longer paths are not compared with others: that takes their length squared."""


def nothing_held(
    path: str, what: str, sought: Collection[str], sources: Sequence[Source]
) -> list[str]:
    """Return a warning where no index holds what is sought at a path, else none.

    what: the kinds sought, in words. Paths that are like it are named.
    """
    known = [source.rows.fields.kinds() for source in sources]
    held = {kind for kinds in known for kind in kinds.get(path, ())}
    if not held.isdisjoint(sought) or not any(known):
        return []
    if held:
        return [f"no point holds {what} at {path!r}: what it holds is of other types"]
    meant = ""
    if len(path) <= SUGGEST_CHARACTERS_MAX:
        paths = {p for kinds in known for p in kinds if len(p) <= SUGGEST_CHARACTERS_MAX}
        near = difflib.get_close_matches(path, sorted(paths), SUGGESTIONS)
        meant = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    return [f"no point holds anything at {path!r}{meant}"]
