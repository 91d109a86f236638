"""Which certificate a process shows, and which clients it knows: files, read again when changed.

Files are looked at once a second. A changed pair is taken once it has stayed the same for a look
and is sound; until then, and where it is not, the one before is shown. Knows no gRPC.
"""

from __future__ import annotations

import datetime
import logging
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vecdb.conditions import Condition
from vecdb.errors import InvalidArgument
from vecdb.kept_file import Signature, signature

log = logging.getLogger(__name__)

LOOK_S = 1.0
SOON_S = 14 * 86_400.0
"""Seconds before its end in which a certificate is said to expire soon."""

Signatures = tuple[Signature | None, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """A pair of certificate and key that was found sound, and whom it trusts.

    client_ca: PEM of the authorities of clients, None where clients are not asked. expires_at:
    Unix seconds. asking, plain: for sockets that ask clients for a certificate, and that do not.
    """

    key: bytes
    chain: bytes
    client_ca: bytes | None
    expires_at: float
    asking: ssl.SSLContext
    plain: ssl.SSLContext


class Certificates:
    """The files, looked at from start() to stop(). Threads may share it."""

    def __init__(self, cert_file: str, key_file: str, client_ca_file: str = "") -> None:
        """Read the files. Raises InvalidArgument that names the file, the fault and the remedy."""
        if not cert_file or not key_file:
            raise InvalidArgument(
                "tls.cert_file and tls.key_file belong together, and tls.client_ca_file needs both",
                hint="set both, or none of the three for plain text",
            )
        self._files = tuple(filter(None, (cert_file, key_file, client_ca_file)))
        self._asks = bool(client_ca_file)
        self._taken = self._seen = _signatures(self._files)
        self._shown = _read(self._files)
        self._refused = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="vecdb-tls", daemon=True)
        if self._shown.expires_at < time.time():
            log.error("%s: clients will refuse it; put a new pair in its place", self._expired())

    @property
    def shown(self) -> Shown:
        """What new connections are shown; another object after each change."""
        return self._shown

    @property
    def asks_clients(self) -> bool:
        """Whether clients need a certificate."""
        return self._asks

    def start(self) -> None:
        """Begin to look at the files."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    def look(self) -> None:
        """Take the files if they have changed, and stay as they were at the last look."""
        now = _signatures(self._files)
        settled, self._seen = now == self._seen, now
        if not settled or now == self._taken:
            return
        self._taken = now  # sound or not: it is said once
        try:
            found = _read(self._files)
            if found.expires_at < time.time() < self._shown.expires_at:
                raise InvalidArgument(f"the certificate in {self._files[0]} has expired already")
        except InvalidArgument as error:
            self._refused = error.message
            log.error("the new certificate is not taken, the one before goes on: %s", error)
            return
        self._shown, self._refused = found, ""
        log.info("a new certificate is shown from %s, good until %s", self._files[0], self._until())

    def conditions(self) -> Iterator[Condition]:
        """Yield what is not well: what expires soon or has expired, and what was not taken."""
        left_s = self._shown.expires_at - time.time()
        if left_s < SOON_S:
            said = self._expired() if left_s < 0 else f"{self._files[0]} expires at {self._until()}"
            advice = "put a new certificate and key in place of the files; no restart is needed"
            yield Condition("certificates", "error" if left_s < 0 else "warning", said, advice)
        if self._refused:
            advice = "put a pair that fits in its place; the one before is shown meanwhile"
            yield Condition("certificates", "warning", self._refused, advice)

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            try:
                self.look()
            except Exception:
                log.exception("looking at the certificate's files failed; it is tried again")

    def _expired(self) -> str:
        return f"the certificate in {self._files[0]} expired at {self._until()}"

    def _until(self) -> str:
        until = datetime.datetime.fromtimestamp(self._shown.expires_at, datetime.UTC)
        return until.isoformat(timespec="seconds")


def _signatures(files: tuple[str, ...]) -> Signatures:
    """Return what changes when a file does; None in place of one that is not there."""
    found: list[Signature | None] = []
    for file in files:
        try:
            found.append(signature(file))
        except OSError:
            found.append(None)
    return tuple(found)


def _read(files: tuple[str, ...]) -> Shown:
    cert_file, key_file, *clients = files
    chain, key = _content(cert_file), _content(key_file)
    client_ca = _content(clients[0]) if clients else None
    try:
        expires_at = expiry(chain)
    except ValueError:
        raise InvalidArgument(
            f"{cert_file} has no certificate in PEM",
            hint="it begins with -----BEGIN CERTIFICATE-----, those of authorities after it",
        ) from None
    plain, asking = _context(cert_file, key_file), _context(cert_file, key_file)
    if clients:
        try:
            asking.load_verify_locations(clients[0])
        except ssl.SSLError:
            raise InvalidArgument(
                f"{clients[0]} has no certificate in PEM",
                hint="tls.client_ca_file holds the authorities that clients' certificates are from",
            ) from None
        asking.verify_mode = ssl.CERT_REQUIRED
    return Shown(key, chain, client_ca, expires_at, asking, plain)


def _content(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise InvalidArgument(
            f"cannot read {file}: {error.strerror}",
            hint="tls.cert_file, tls.key_file and tls.client_ca_file are PEM files of the server",
        ) from None


def _context(cert_file: str, key_file: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert_file, key_file, password=lambda: "")  # or it would ask
    except ssl.SSLError as error:
        if "MISMATCH" in str(error.reason):
            raise InvalidArgument(
                f"the key in {key_file} is not that of the certificate in {cert_file}",
                hint="give the two files that were issued together",
            ) from None
        raise InvalidArgument(
            f"{cert_file} and {key_file} are not a certificate and its key: {error.reason}",
            hint="both are PEM; the key has no password",
        ) from None
    except OSError as error:  # gone since it was read
        raise InvalidArgument(f"cannot read {cert_file} or {key_file}: {error.strerror}") from None
    return context


def expiry(pem: bytes) -> float:
    """Return until when the first certificate in a PEM file is good, in Unix seconds.

    Raises ValueError for what is none. RFC 5280, 4.1: the fifth part of TBSCertificate, behind the
    version, which may be missing.
    """
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    _, mark, rest = pem.partition(begin)
    if not mark or end not in rest:
        raise ValueError("no certificate")
    text = (begin + rest.partition(end)[0] + end).decode("ascii")
    outer = _parts(ssl.PEM_cert_to_DER_cert(text))
    parts = _parts(_parts(outer[0][1])[0][1])
    if parts[0][0] == 0xA0:
        parts = parts[1:]
    kind, until = _parts(parts[3][1])[1]
    words = until.decode("ascii")
    if kind == 0x17:  # UTCTime: of two digits, those below 50 are of this century
        words = ("20" if words[:2] < "50" else "19") + words
    moment = datetime.datetime.strptime(words, "%Y%m%d%H%M%SZ")
    return moment.replace(tzinfo=datetime.UTC).timestamp()


def _parts(der: bytes) -> list[tuple[int, bytes]]:
    """Return tag and content of each element of DER. Raises ValueError."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(der):
        if at + 2 > len(der):
            raise ValueError("cut short")
        tag, size = der[at], der[at + 1]
        at += 2
        if size & 0x80:
            count = size & 0x7F
            size = int.from_bytes(der[at : at + count], "big")
            at += count
        if at + size > len(der):
            raise ValueError("cut short")
        found.append((tag, der[at : at + size]))
        at += size
    return found
