"""A service's address: bytes of JSON go out, bytes come back, or an error that says what to do.

The only file of this room that sends by HTTP. What is asked, and what an answer means, is left to
service.py; the key, and what a refusal means, to address.py.

Redirects are not followed: a key goes where it was meant to go, and nowhere else. The environment's
proxies and .netrc are not looked at, since they are meant for people: a proxy is an option, and so
is a certificate authority of one's own.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx

from vecdb.embed.address import Address, certificates, retry_after_s
from vecdb.errors import DeadlineExceeded, FailedPrecondition, Unavailable, VecdbError

log = logging.getLogger(__name__)

CONNECT_S = 10.0
# Of one try: a local server may take this long for a batch on a processor.
TRY_S = 120.0
BACKOFF_S, BACKOFF_MAX_S = 0.25, 20.0
ERROR_BYTES = 1 << 16
KEPT_ALIVE_S = 60.0


class Hours(NamedTuple):
    """How long a request may take, on time.monotonic().

    until: when its callers will have gone. retry_until: after which no new try begins.
    """

    until: float
    retry_until: float


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    content: bytes


class Endpoint:
    """Where requests for a model go. Any thread may post.

    url: the whole address. key_header: which header takes the key, and what stands before it.
    at_once: how many connections it may have. Raises FailedPrecondition where the options are
    wrong or the key is missing.
    """

    def __init__(
        self,
        url: str,
        options: Mapping[str, Any],
        *,
        model: str,
        key_header: tuple[str, str],
        at_once: int,
    ) -> None:
        self._model = model
        self._address = Address(url, options, os.environ, model=model, key_header=key_header)
        self.host = self._address.host
        self._closed = threading.Event()
        # It writes a line for each request.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        verify = certificates(options.get("ca_file", ""))
        try:
            self._client = httpx.Client(
                headers={"content-type": "application/json", "accept-encoding": "gzip"},
                follow_redirects=False,
                trust_env=False,
                proxy=options.get("proxy") or None,
                verify=verify,
                limits=httpx.Limits(max_connections=at_once, keepalive_expiry=KEPT_ALIVE_S),
            )
        except (httpx.InvalidURL, ValueError, ImportError):
            # Not what it says: a proxy's address can hold a password.
            raise FailedPrecondition(
                "the proxy is no address", hint=f"look at options.proxy of {model}"
            ) from None

    def post(self, body: Mapping[str, Any], hours: Hours, most_bytes: int) -> bytes:
        """Return the answer to a request, asked again within hours where that can help.

        most_bytes: of an answer. Raises Refused, FailedPrecondition, DeadlineExceeded, and
        Unavailable or Overloaded with retry_after_s.
        """
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        failure: VecdbError | None = DeadlineExceeded(f"{self.host} was not asked in time")
        for attempt in itertools.count():
            left_s = min(TRY_S, hours.until - time.monotonic())
            if left_s <= 0:
                assert failure is not None
                raise failure
            answer, failure = self._try(content, left_s, most_bytes)
            if failure is None:
                assert answer is not None
                return answer.content
            pause_s = min(BACKOFF_MAX_S, BACKOFF_S * 2 ** min(attempt, 16))
            pause_s *= random.uniform(0.5, 1.0)  # or all that were refused at once return at once
            pause_s = max(pause_s, retry_after_s(answer.headers if answer else {}))
            failure.retry_after_s = max(1.0, pause_s)
            # Nobody waits for what comes after that.
            if time.monotonic() + pause_s >= hours.retry_until or self._closed.wait(pause_s):
                raise failure
        raise AssertionError

    def close(self) -> None:
        """End all connections, and the wait of whoever still does."""
        self._closed.set()
        self._client.close()

    def _try(
        self, content: bytes, left_s: float, most_bytes: int
    ) -> tuple[_Answer | None, VecdbError | None]:
        """Return the answer, and why it is none that a retry could not better."""
        try:
            answer = self._once(content, left_s, most_bytes)
            if answer.status in (401, 403) and self._address.key.renewed():
                answer = self._once(content, left_s, most_bytes)
        except httpx.TimeoutException as error:
            if isinstance(error, httpx.ConnectTimeout):
                return None, Unavailable(f"{self.host} cannot be reached: no connection in time")
            return None, Unavailable(f"{self.host} did not answer within {left_s:.3g} s")
        except httpx.RequestError as error:
            reached = "cannot be reached" if isinstance(error, httpx.ConnectError) else "broke off"
            return None, Unavailable(f"{self.host} {reached}: {self._address.plain(str(error))}")
        if 200 <= answer.status < 300:
            return answer, None
        return answer, self._address.failure(answer.status, answer.content)

    def _once(self, content: bytes, left_s: float, most_bytes: int) -> _Answer:
        ends = time.monotonic() + left_s
        with self._client.stream(
            "POST",
            self._address.url,
            content=content,
            headers=self._address.authorization(),
            timeout=httpx.Timeout(left_s, connect=min(left_s, CONNECT_S)),
        ) as response:
            well = response.is_success
            read = bytearray()
            for chunk in response.iter_bytes():
                read += chunk
                if len(read) > (most_bytes if well else ERROR_BYTES):
                    break
                # The client's own limit is for each part of an answer.
                if time.monotonic() > ends:
                    raise httpx.ReadTimeout("an answer in drops")
        if well and len(read) > most_bytes:
            raise FailedPrecondition(
                f"{self.host} answered with more than {most_bytes:,} bytes, "
                f"which so many vectors do not take",
                hint=f"look at options.endpoint and dim of {self._model}",
            )
        return _Answer(response.status_code, response.headers, bytes(read))
