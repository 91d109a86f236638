"""What a process's log looks like: lines for people, or a JSON object a line for programs.

A record may carry `fields`, a dict of what a program would look for (``extra={"fields": ...}``);
text leaves them out, since its message says the same. Nothing secret is logged, and nothing of what
is stored.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime

RequestId = Callable[[], str]
"""Returns the id of the call that this thread works on, or ""."""


def no_request() -> str:
    """Return that this thread works on no call."""
    return ""


def start(
    level: str, shape: str = "text", process: str = "", request_id: RequestId = no_request
) -> None:
    """Send log lines of this process to standard error.

    level: a name of logging. shape: "text" or "json", see LogConfig. process: which of a node's.
    """
    made = _Lines(process, request_id) if shape == "text" else _Objects(process, request_id)
    stream = logging.StreamHandler()
    stream.setFormatter(made)
    logging.basicConfig(level=level.upper(), handlers=[stream], force=True)


class _Lines(logging.Formatter):
    """Lines for people."""

    def __init__(self, process: str, request_id: RequestId) -> None:
        named = f"{process}: " if process else ""
        super().__init__(f"%(asctime)s %(levelname)s {named}%(name)s: %(message)s")
        self._request_id = request_id

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return a line, with the id of the call where its message does not have it."""
        line = super().formatMessage(record)
        found = self._request_id()
        return f"{line} [request {found}]" if found and found not in line else line


class _Objects(logging.Formatter):
    """An object a line: time (RFC 3339), level, logger, message, and what else is known."""

    def __init__(self, process: str, request_id: RequestId) -> None:
        super().__init__()
        self._process = process
        self._request_id = request_id

    def format(self, record: logging.LogRecord) -> str:
        """Return the object, without line breaks."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told: dict[str, object] = {
            "time": when.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._process:
            told["process"] = self._process
        if found := self._request_id():
            told["request_id"] = found
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        told |= getattr(record, "fields", {})
        return json.dumps(told, ensure_ascii=True, default=str)
