"""A service's address: bytes of JSON go out, bytes come back, or an error that says what to do.

The only file that knows HTTP. What is asked, and what an answer means, is left to service.py.

Redirects are not followed: a key goes where it was meant to go, and nowhere else. The environment's
proxies and .netrc are not looked at, since they are meant for people: a proxy is an option, and so
is a certificate authority of one's own. A key is in no message and no log line.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
import ssl
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from vecdb.errors import DeadlineExceeded, FailedPrecondition, Overloaded, Unavailable, VecdbError

log = logging.getLogger(__name__)

CONNECT_S = 10.0
# Of one try: a local server may take this long for a batch on a processor.
TRY_S = 120.0
BACKOFF_S, BACKOFF_MAX_S = 0.25, 20.0
# What a service may ask us to wait, at most.
RETRY_AFTER_MAX_S = 600.0
ERROR_BYTES = 1 << 16
SAID_CHARS = 200
KEPT_ALIVE_S = 60.0


class Refused(Exception):
    """The service takes the request for wrong: it may be the fault of one of its texts.

    status: of HTTP. said: what the service says of it, or "".
    """

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"HTTP {status}{': ' if said else ''}{said}")


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


class Key:
    """A secret, and where it came from. Its repr shows the latter alone.

    Raises FailedPrecondition, without the secret, when it is not where the options say.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._file: str = options.get("key_file", "")
        self._variable: str = options.get("key_env", "")
        self.secret = self._read()

    @property
    def source(self) -> str:
        """Return what a person has to look at: the option and what it names."""
        if self._file:
            return f"options.key_file, {self._file}"
        if self._variable:
            return f"options.key_env, the environment variable {self._variable}"
        return "options.key_env or options.key_file: the entry has neither"

    def renewed(self) -> bool:
        """Return whether the file holds another key by now; from then on that is the key."""
        if not self._file:
            return False
        before, self.secret = self.secret, self._read()
        return self.secret != before

    def __repr__(self) -> str:
        return f"Key({self.source})"

    def _read(self) -> str:
        if self._file:
            try:
                read = Path(self._file).read_text(encoding="ascii")
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or "it is not a text of one line"
                raise FailedPrecondition(f"no key can be read: {why}", hint=self.source) from None
        elif self._variable:
            read = os.environ.get(self._variable, "")
        else:
            return ""
        secret = read.strip()
        if not secret:
            raise FailedPrecondition("the key is missing", hint=f"set {self.source}")
        if not all("!" <= character <= "~" for character in secret):
            raise FailedPrecondition(
                "the key holds spaces, or letters that no key has", hint=self.source
            )
        return secret


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
        self._url = _checked(url, model)
        # Without the name and password that an address can hold.
        self.host = self._url.netloc.decode("ascii")
        self._key = Key(options)
        self._key_header = key_header
        self._closed = threading.Event()
        # It writes a line for each request.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        verify = _certificates(options.get("ca_file", ""))
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
            pause_s = max(pause_s, _retry_after_s(answer))
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
            if answer.status in (401, 403) and self._key.renewed():
                answer = self._once(content, left_s, most_bytes)
        except httpx.TimeoutException as error:
            if isinstance(error, httpx.ConnectTimeout):
                return None, Unavailable(f"{self.host} cannot be reached: no connection in time")
            return None, Unavailable(f"{self.host} did not answer within {left_s:.3g} s")
        except httpx.RequestError as error:
            reached = "cannot be reached" if isinstance(error, httpx.ConnectError) else "broke off"
            return None, Unavailable(f"{self.host} {reached}: {self._plain(str(error))}")
        if 200 <= answer.status < 300:
            return answer, None
        return answer, self._failure(answer)

    def _once(self, content: bytes, left_s: float, most_bytes: int) -> _Answer:
        ends = time.monotonic() + left_s
        header, scheme = self._key_header
        secret = self._key.secret
        with self._client.stream(
            "POST",
            self._url,
            content=content,
            headers={header: scheme + secret} if secret else {},
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

    def _failure(self, answer: _Answer) -> VecdbError:
        """Return what an answer says that another try may not. Raises what it would again."""
        status, said = answer.status, self._said(answer.content)
        told = f"{self.host} answered HTTP {status}{': ' if said else ''}{said}"
        # Gemini calls a bad key a bad request. What is said of a key may hold parts of it.
        if status in (401, 403) or (status == 400 and b"API_KEY_INVALID" in answer.content):
            raise FailedPrecondition(
                f"{self.host} refused the key of {self._model}", hint=f"look at {self._key.source}"
            )
        if status == 429:
            return Overloaded(told)
        if status == 408 or status >= 500:
            return Unavailable(told)
        if status < 400:
            raise FailedPrecondition(
                f"{self.host} sends us elsewhere (HTTP {status}), where no key is sent",
                hint=f"set options.endpoint of {self._model} to the address itself",
            )
        if status in (402, 404, 405):
            raise FailedPrecondition(
                told, hint=f"look at options.endpoint, source and the account of {self._model}"
            )
        raise Refused(status, said)

    def _said(self, content: bytes) -> str:
        """Return the message of an error's body: of OpenAI, Google, Cohere, or what is like them.

        It is left out where no JSON says it: a page of a proxy says nothing to a caller.
        """
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            return ""
        for _ in range(3):
            if isinstance(body, list) and body:
                body = body[0]
            if isinstance(body, Mapping):
                body = body.get("error") or body.get("message") or body.get("detail")
        return self._plain(body) if isinstance(body, str) else ""

    def _plain(self, said: str) -> str:
        """Return what somebody else says, without the key, and as one short line."""
        if secret := self._key.secret:
            said = said.replace(secret, "[key]")
        line = " ".join(said.split())
        line = "".join(letter if letter.isprintable() else "?" for letter in line)
        return line if len(line) <= SAID_CHARS else f"{line[:SAID_CHARS]} ..."


def _checked(url: str, model: str) -> httpx.URL:
    hint = f"options.endpoint of {model} is such as https://host/v1"
    try:
        made = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise FailedPrecondition("the endpoint is no address", hint=hint) from None
    if made.scheme not in ("http", "https") or not made.host:
        raise FailedPrecondition("the endpoint is no address of http or https", hint=hint)
    if made.userinfo:
        raise FailedPrecondition(
            "the endpoint holds a name or password", hint="name a key by options.key_file"
        )
    return made


def _certificates(ca_file: str) -> ssl.SSLContext | bool:
    if not ca_file:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # what is wrong inside the file is one, too
        why = error.strerror or "it holds no certificate"
        raise FailedPrecondition(f"cannot read options.ca_file, {ca_file}: {why}") from None


def _retry_after_s(answer: _Answer | None) -> float:
    """Return what Retry-After asks for, a number of seconds or a date, within bounds; or 0."""
    said = answer.headers.get("retry-after", "").strip() if answer else ""
    try:
        seconds = float(said)
    except ValueError:
        try:
            then = parsedate_to_datetime(said)
        except ValueError:
            return 0.0
        seconds = (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(RETRY_AFTER_MAX_S, seconds) if seconds > 0 else 0.0  # NaN is not
