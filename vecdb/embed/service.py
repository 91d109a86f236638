"""Text models that a service elsewhere runs: what all of them share, whatever their API.

Each API is a file with one class that adds what is asked and where the answer has its numbers. HTTP
is left to endpoint.py.

Lengths are estimated, since only the service has the tokenizer. A text that may be too long by the
estimate is cut here and reported as truncated; APIs that can are asked to refuse what is too long
all the same, so that none cuts unseen. The estimate is on the safe side for prose.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vecdb.embed.address import Refused
from vecdb.embed.catalog import ModelSpec
from vecdb.embed.encoder import Batching, Execution, Output, Prepared, Role
from vecdb.embed.endpoint import Endpoint, Hours
from vecdb.embed.pooling import finished
from vecdb.errors import FailedPrecondition, InvalidArgument, NotFinite
from vecdb.types import F32

Numbers: TypeAlias = NDArray[Any]

# Where callers set no deadline.
DEFAULT_S = 60.0
# Somebody waits for a query: after this, no new try begins.
QUERY_RETRY_S = 10.0
AT_ONCE = 4
# English has four to five bytes a token, program text and other languages in ASCII about three.
BYTES_PER_TOKEN = 3.0
# Chinese has two to three, Cyrillic four, Devanagari two to six, emoji one to two.
OTHER_BYTES_PER_TOKEN = 2.0
SPECIAL_TOKENS = 2
# A number takes up to 24 characters, and as many as that again where answers are indented.
BYTES_PER_NUMBER, BYTES_PER_VECTOR, BYTES_PER_ANSWER = 48, 1024, 1 << 16
# Nobody's vectors hold as much; of more than about 1e19 the square is no float32.
NUMBER_MAX = 1e12
PROBE = "a"


@dataclass(frozen=True, slots=True)
class ServiceText:
    """A text as it is sent. Its length is the estimate of its tokens."""

    text: str
    role: Role
    tokens: int

    def __len__(self) -> int:
        """Return what it costs."""
        return self.tokens


class Malformed(Exception):
    """The answer is not of the API's shape; says how."""


class RemoteText(ABC):
    """An Encoder whose work a service does.

    items, tokens: the most that the API takes in a request; options may ask for less. A hard limit
    is the service's own, another is only a good size. Options: endpoint, key_env, key_file, proxy,
    ca_file, batch_items, batch_tokens, at_once, bytes_per_token, ask_dimensions.
    """

    items: int
    tokens: int
    hard = True
    key_header = ("authorization", "Bearer ")
    asks_dimensions = False

    def __init__(self, spec: ModelSpec, paths: Mapping[str, Path], execution: Execution) -> None:
        self.spec = spec
        options = spec.options
        base = options.get("endpoint", "")
        if not base:
            raise FailedPrecondition(
                f"model {spec.name} has no endpoint", hint="set options.endpoint of its entry"
            )
        self.batching = Batching(
            self._limit("batch_items", self.items, self.hard),
            self._limit("batch_tokens", self.tokens, self.hard),
            self._limit("at_once", AT_ONCE, False),
        )
        self._bytes_per_token = float(options.get("bytes_per_token", BYTES_PER_TOKEN))
        if not 1.0 <= self._bytes_per_token <= 16.0:
            raise FailedPrecondition(f"options.bytes_per_token of {spec.name} is from 1 to 16")
        self.dimensions = spec.dim if options.get("ask_dimensions", self.asks_dimensions) else 0
        self._prompts = {Role.QUERY: spec.query_prompt, Role.DOCUMENT: spec.document_prompt}
        self._answered = False
        self._endpoint = Endpoint(
            self.address(base.rstrip("/")),
            options,
            model=spec.name,
            key_header=self.key_header,
            at_once=self.batching.at_once,
        )

    @abstractmethod
    def address(self, base: str) -> str:
        """Return where requests go. base: the option `endpoint`, without a slash at its end."""

    @abstractmethod
    def body(self, texts: Sequence[str], role: Role) -> dict[str, Any]:
        """Return what is asked."""

    @abstractmethod
    def numbers(self, answer: Mapping[str, Any], count: int) -> Sequence[Any]:
        """Return the numbers of each text, in the order of texts, as JSON had them.

        Raises Malformed, or whatever Python raises where it looks for what is not there.
        """

    def prepare(self, items: Sequence[str], role: Role) -> list[Prepared]:
        """Return each text with the role's prompt in front, cut to about max_tokens."""
        return [self._prepared(at, text, role) for at, text in enumerate(items)]

    def encode(
        self, batch: Sequence[ServiceText], deadline: float | None = None
    ) -> F32 | list[Output]:
        """Return the vectors of texts, (n, dim) float32, or where some have none, one by one."""
        role = batch[0].role
        now = time.monotonic()
        until = now + DEFAULT_S if deadline is None else deadline
        patience_s = QUERY_RETRY_S if role is Role.QUERY else float("inf")
        hours = Hours(until, min(until, now + patience_s))
        outputs = self._outputs([one.text for one in batch], role, hours)
        vectors = [one for one in outputs if isinstance(one, np.ndarray)]
        return np.stack(vectors) if len(vectors) == len(batch) else outputs

    def close(self) -> None:
        """End all connections."""
        self._endpoint.close()

    def _limit(self, option: str, limit: int, hard: bool) -> int:
        said = self.spec.options.get(option, limit)
        if said < 1:
            raise FailedPrecondition(f"options.{option} of {self.spec.name} is at least 1")
        return min(said, limit) if hard else int(said)

    def _prepared(self, at: int, text: str, role: Role) -> Prepared:
        whole = self._prompts[role] + text
        most = self.spec.max_tokens - SPECIAL_TOKENS
        # Of what is behind that, nothing is sent.
        first = whole[: int(most * self._bytes_per_token) + 1]
        try:
            encoded = first.encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidArgument(
                f"items[{at}] holds half a surrogate pair, which no service takes",
                field=f"items[{at}]",
            ) from None
        letters = np.frombuffer(encoded, dtype=np.uint8)
        costs = np.where(letters < 128, 1 / self._bytes_per_token, 1 / OTHER_BYTES_PER_TOKEN)
        sums = np.cumsum(costs)
        kept = int(np.searchsorted(sums, most, side="right"))
        truncated = kept < len(encoded) or len(first) < len(whole)
        # A cut inside of a character takes away all of it.
        sent = encoded[:kept].decode("utf-8", errors="ignore") if truncated else whole
        tokens = SPECIAL_TOKENS + int(np.ceil(sums[kept - 1])) if kept else SPECIAL_TOKENS
        return Prepared(ServiceText(sent, role, min(tokens, self.spec.max_tokens)), truncated)

    def _outputs(self, texts: list[str], role: Role, hours: Hours) -> list[Output]:
        """Return what becomes of texts: of those that were refused together, of each half."""
        try:
            return self._vectors(texts, role, hours)
        except Refused as refused:
            if not self._answered:
                self._probe(role, hours)
            if len(texts) == 1:
                return [
                    InvalidArgument(
                        f"{self._endpoint.host} refused the text: {refused}",
                        hint="it may be too long, or hold what the service does not take",
                    )
                ]
        half = len(texts) // 2
        return [
            *self._outputs(texts[:half], role, hours),
            *self._outputs(texts[half:], role, hours),
        ]

    def _probe(self, role: Role, hours: Hours) -> None:
        """Raise FailedPrecondition where not even a harmless text is taken: the entry is wrong."""
        try:
            self._vectors([PROBE], role, hours)
        except Refused as refused:
            raise FailedPrecondition(
                f"{self._endpoint.host} refuses all that is asked for {self.spec.name}: {refused}",
                hint="look at source, dim and options of its entry",
            ) from None

    def _vectors(self, texts: list[str], role: Role, hours: Hours) -> list[Output]:
        count, dim = len(texts), self.spec.dim
        most_bytes = BYTES_PER_ANSWER + count * (BYTES_PER_VECTOR + dim * BYTES_PER_NUMBER)
        content = self._endpoint.post(self.body(texts, role), hours, most_bytes)
        try:
            answer = json.loads(content)
            if not isinstance(answer, Mapping):
                raise Malformed("JSON that is no object")
            rows = self._rows(self.numbers(answer, count), count)
        except Malformed as error:
            raise self._wrong(str(error)) from None
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            raise self._wrong("something else than the API's reply") from None
        self._answered = True
        return [self._output(row) for row in rows]

    def _rows(self, numbers: Sequence[Any], count: int) -> list[Numbers]:
        if len(numbers) != count:
            raise Malformed(f"{len(numbers)} vectors for {count} texts")
        rows: list[Numbers] = [np.asarray(one) for one in numbers]
        for row in rows:
            if row.ndim != 1 or row.dtype.kind not in "fiu":
                raise Malformed("a vector that is no list of numbers")
            if len(row) != self.spec.dim:
                raise Malformed(f"a vector of {len(row)} numbers, the entry says {self.spec.dim}")
        return rows

    def _output(self, row: Numbers) -> F32 | NotFinite:
        try:
            if not np.abs(row).max() < NUMBER_MAX:
                raise NotFinite(f"model {self.spec.name} returned a vector that is not finite")
            vectors = row.astype(np.float32)[None]
            vector: F32 = finished(vectors, self.spec.name, normalize=self.spec.normalize)[0]
            return vector
        except NotFinite as error:
            return error

    def _wrong(self, what: str) -> FailedPrecondition:
        return FailedPrecondition(
            f"{self._endpoint.host} answered with {what}",
            hint=f"look at options.endpoint, source and dim of {self.spec.name}",
        )
