"""Where a service is, with which key, and what its refusals mean; nothing is sent here.

Shared by all who ask a service elsewhere: endpoint.py for embeddings, rag/completions.py for
answers. A key is in no message and no log line.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx

from vecdb.errors import FailedPrecondition, Overloaded, Unavailable, VecdbError

# What a service may ask us to wait, at most.
RETRY_AFTER_MAX_S = 600.0
SAID_CHARS = 200


class Refused(Exception):
    """The service takes the request for wrong: it may be the fault of one of its texts.

    status: of HTTP. said: what the service says of it, or "".
    """

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"HTTP {status}{': ' if said else ''}{said}")


class Key:
    """A secret, and where it came from. Its repr shows the latter alone.

    options: those named key_file and key_env; section: what their names begin with. Raises
    FailedPrecondition, without the secret, when it is not where the options say.
    """

    def __init__(
        self, options: Mapping[str, Any], environ: Mapping[str, str], section: str = "options"
    ) -> None:
        self._section = section
        self._environ = environ
        self._file: str = options.get("key_file", "")
        self._variable: str = options.get("key_env", "")
        self.secret = self._read()

    @property
    def source(self) -> str:
        """Return what a person has to look at: the option and what it names."""
        if self._file:
            return f"{self._section}.key_file, {self._file}"
        if self._variable:
            return f"{self._section}.key_env, the environment variable {self._variable}"
        return f"{self._section}.key_env or {self._section}.key_file: neither is set"

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
            read = self._environ.get(self._variable, "")
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


class Address:
    """A service's address and key, and what it means when it refuses.

    url: the whole address. section: what the names of its settings begin with; source: the setting
    that names the model there; model: whose settings they are, or "". Raises FailedPrecondition
    where they are wrong or the key is missing.
    """

    def __init__(
        self,
        url: str,
        options: Mapping[str, Any],
        environ: Mapping[str, str],
        *,
        section: str = "options",
        source: str = "source",
        model: str = "",
        key_header: tuple[str, str] = ("authorization", "Bearer "),
    ) -> None:
        self._section = section
        self._asked = f"{section}.endpoint, {source}"
        self._whose = f" of {model}" if model else ""
        self.url = _checked(url, f"{section}.endpoint{self._whose} is such as https://host/v1")
        # Without the name and password that an address can hold.
        self.host = self.url.netloc.decode("ascii")
        self.key = Key(options, environ, section)
        self._key_header = key_header

    def authorization(self) -> dict[str, str]:
        """Return the headers that carry the key."""
        header, scheme = self._key_header
        return {header: scheme + self.key.secret} if self.key.secret else {}

    def failure(self, status: int, content: bytes) -> VecdbError:
        """Return what an answer says that another try may not. Raises what it would again."""
        said = self.said(content)
        told = f"{self.host} answered HTTP {status}{': ' if said else ''}{said}"
        # Gemini calls a bad key a bad request. What is said of a key may hold parts of it.
        if status in (401, 403) or (status == 400 and b"API_KEY_INVALID" in content):
            raise FailedPrecondition(
                f"{self.host} refused the key{self._whose}", hint=f"look at {self.key.source}"
            )
        if status == 429:
            return Overloaded(told)
        if status == 408 or status >= 500:
            return Unavailable(told)
        if status < 400:
            raise FailedPrecondition(
                f"{self.host} sends us elsewhere (HTTP {status}), where no key is sent",
                hint=f"set {self._section}.endpoint{self._whose} to the address itself",
            )
        if status in (402, 404, 405):
            raise FailedPrecondition(
                told,
                hint=f"look at {self._asked} and the account{self._whose}",
            )
        raise Refused(status, said)

    def said(self, content: bytes) -> str:
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
        return self.plain(body) if isinstance(body, str) else ""

    def plain(self, said: str) -> str:
        """Return what somebody else says, without the key, and as one short line."""
        if secret := self.key.secret:
            said = said.replace(secret, "[key]")
        line = " ".join(said.split())
        line = "".join(letter if letter.isprintable() else "?" for letter in line)
        return line if len(line) <= SAID_CHARS else f"{line[:SAID_CHARS]} ..."


def _checked(url: str, hint: str) -> httpx.URL:
    try:
        made = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise FailedPrecondition("the endpoint is no address", hint=hint) from None
    if made.scheme not in ("http", "https") or not made.host:
        raise FailedPrecondition("the endpoint is no address of http or https", hint=hint)
    if made.userinfo:
        raise FailedPrecondition(
            "the endpoint holds a name or password", hint="name a key by key_file"
        )
    return made


def certificates(ca_file: str, section: str = "options") -> ssl.SSLContext | bool:
    """Return what to trust: the certificates of a file, or where it is "" those of httpx.

    Raises FailedPrecondition.
    """
    if not ca_file:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # what is wrong inside the file is one, too
        why = error.strerror or "it holds no certificate"
        raise FailedPrecondition(f"cannot read {section}.ca_file, {ca_file}: {why}") from None


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Return what Retry-After asks for, a number of seconds or a date, within bounds; or 0."""
    said = headers.get("retry-after", "").strip()
    try:
        seconds = float(said)
    except ValueError:
        try:
            then = parsedate_to_datetime(said)
        except ValueError:
            return 0.0
        seconds = (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(RETRY_AFTER_MAX_S, seconds) if seconds > 0 else 0.0  # NaN is not
