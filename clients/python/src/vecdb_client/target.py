"""What a client connects to: the address, how the server is known to be it, and who is calling.

An API key is in every call's metadata, and in nothing else: not in a repr, an error or a log.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import grpc

from vecdb_client.channels import OPTIONS
from vecdb_client.errors import InvalidArgument

ApiKey: TypeAlias = str | Callable[[], str] | Path
"""A key; what returns the one to use now; or a file that holds it, read again once it changed."""

Metadata: TypeAlias = tuple[tuple[str, str], ...]

_KEY: Final = re.compile(r"[\x21-\x7e]+")
_SCHEME: Final = re.compile(r"(?:dns:(?:///?)?|ipv4:|ipv6:)")


@dataclass(frozen=True, slots=True)
class Tls:
    """How a server proves who it is, and, where it asks, the client too. Files are PEM.

    ca_file: whose certificates to trust; None for those that the system trusts.
    cert_file, key_file: of the client, where the server asks for a certificate (mTLS).
    server_name: the name in the server's certificate; None for the address's host.

    Files are read for each new connection, so that one replaced is used from then on.
    """

    ca_file: str | Path | None = None
    cert_file: str | Path | None = None
    key_file: str | Path | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise InvalidArgument("cert_file and key_file of Tls belong together: give both")

    def credentials(self) -> grpc.ChannelCredentials:
        """Return what gRPC takes. Raises InvalidArgument that names the file it cannot read."""
        trusted = self.ca_file or ssl.get_default_verify_paths().cafile
        # gRPC does not look at what it is given before it connects, and then says little.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if trusted is not None:
            _check(trusted, context.load_verify_locations)
        if self.cert_file is not None:
            _check(self.cert_file, lambda file: context.load_cert_chain(file, self.key_file))
        return grpc.ssl_channel_credentials(
            _read(trusted),
            private_key=_read(self.key_file),
            certificate_chain=_read(self.cert_file),
        )


class Target:
    """A server's address, with what goes along. Threads may share it.

    api_key, tls, insecure: as Client takes them. Raises InvalidArgument for what is none, and for
    a key that would travel in plain text.
    """

    def __init__(
        self,
        address: str,
        *,
        api_key: ApiKey | None = None,
        tls: Tls | bool = False,
        insecure: bool = False,
    ) -> None:
        self.address: Final = _checked_address(address)
        self._tls = Tls() if tls is True else tls or None
        self._key: Callable[[], str] | None = None
        if isinstance(api_key, Path):
            self._key = _KeyFile(api_key).key
        elif callable(api_key):
            self._key = lambda: _checked_key(api_key(), "what api_key returned")
        elif api_key is not None:
            kept = _checked_key(api_key, "api_key")
            self._key = lambda: kept
        if self._key and self._tls is None and not insecure and not is_local(address):
            raise InvalidArgument(
                f"the key would travel to {address} in plain text: give tls=True or tls=Tls(...), "
                "or say insecure=True where the network itself is guarded"
            )
        if self._tls is not None:
            self._tls.credentials()

    def __repr__(self) -> str:
        return f"Target({self.address!r})"

    def metadata(self) -> Metadata | None:
        """Return what goes with each call. Raises InvalidArgument where there is no key to read."""
        if self._key is None:
            return None
        return (("authorization", f"Bearer {self._key()}"),)

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Return gRPC's credentials of a new connection, None for plain text."""
        return self._tls.credentials() if self._tls else None

    @property
    def options(self) -> tuple[tuple[str, Any], ...]:
        """The channel's options."""
        more: list[tuple[str, Any]] = []
        if self._key and self._tls is None:
            more.append(("grpc.enable_http_proxy", 0))  # which would read the key
        if self._tls and self._tls.server_name:
            more.append(("grpc.ssl_target_name_override", self._tls.server_name))
        return (*OPTIONS, *more)


class _KeyFile:
    """A key in a file, read again when the file is another than before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._known = ""
        self.key()

    def key(self) -> str:
        """Return the key; the last known while the file cannot be read."""
        try:
            status = os.stat(self._path)
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if seen != self._seen:
                said = self._path.read_text(encoding="ascii", errors="replace").strip()
                self._known = _checked_key(said, f"the file {self._path}")
                self._seen = seen
        except InvalidArgument:
            if not self._known:
                raise
        except OSError as error:
            if not self._known:
                raise InvalidArgument(
                    f"cannot read the key's file {self._path}: {error.strerror}"
                ) from None
        return self._known


def is_local(address: str) -> bool:
    """Return whether what is sent to an address stays on this machine."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = _SCHEME.sub("", address, count=1)
    if host.count(":") == 1 or host.startswith("["):
        host = host.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked_address(address: str) -> str:
    if address.startswith(("http://", "https://", "grpc://")):
        raise InvalidArgument(
            f"an address is host:port or unix:/path, without a scheme: {address!r}"
        )
    return address


def _checked_key(key: object, what: str) -> str:
    """Return a key that may go into metadata; what is refused is not shown."""
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise InvalidArgument(
            f"{what} is no key: a key is of visible ASCII characters, without spaces"
        )
    return key


def _read(file: str | Path | None) -> bytes | None:
    return None if file is None else Path(file).read_bytes()


def _check(file: str | Path, load: Callable[[str | Path], object]) -> None:
    try:
        load(file)
    except ssl.SSLError as error:
        raise InvalidArgument(f"{file} is not what TLS needs, as PEM: {error.reason}") from None
    except OSError as error:
        raise InvalidArgument(f"cannot read {error.filename or file}: {error.strerror}") from None
