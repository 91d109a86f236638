"""JSON Web Tokens: who their bearer is, by a key that the operator configured.

HS256 with a shared secret, RS256 with a public key; the token says which, and each has its own
key, so that neither is ever checked with the other's. What a token may do stands in its claim
``access``, without which it may do nothing:

    {"sub": "ingest-7", "exp": 1790000000,
     "access": [{"actions": ["read", "write"], "collections": ["docs-*"]}]}
"""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vecdb.auth import scopes
from vecdb.auth.scopes import Grant, Principal
from vecdb.config import AuthConfig
from vecdb.errors import FailedPrecondition, InvalidArgument, Unauthenticated

log = logging.getLogger(__name__)

LEEWAY_S = 30.0
SECRET_BYTES = 32
TOKEN_CHARACTERS = 8_192
GRANTS = 100
SUBJECT_CHARACTERS = 128
FILE_CHECK_S = 1.0
_EXTRA = "pip install 'vecdb[jwt]'"


@dataclass(slots=True)
class _Key:
    """A file with a key for one algorithm, and what it held when it was last read."""

    setting: str
    algorithm: str
    path: Path
    mark: tuple[int, int, int] = (0, 0, 0)
    key: Any = None


class Tokens:
    """Checks tokens. Its files are read again when they change."""

    @staticmethod
    def is_configured(config: AuthConfig) -> bool:
        """Return whether tokens are taken."""
        return bool(config.jwt_secret_file or config.jwt_public_key_file)

    def __init__(self, config: AuthConfig) -> None:
        """Read the keys. Raises InvalidArgument, FailedPrecondition where a package is missing."""
        try:
            import jwt  # an extra: most nodes have no tokens
        except ImportError:
            raise FailedPrecondition(
                "auth.jwt_* needs a package that is not installed", hint=_EXTRA
            ) from None
        self._jwt = jwt
        self._audience = config.jwt_audience or None
        self._issuer = config.jwt_issuer or None
        named = (
            ("auth.jwt_secret_file", "HS256", config.jwt_secret_file),
            ("auth.jwt_public_key_file", "RS256", config.jwt_public_key_file),
        )
        self._keys = {
            algorithm: _Key(setting, algorithm, Path(path))
            for setting, algorithm, path in named
            if path
        }
        self._lock = threading.Lock()
        self._look_again_at = 0.0
        self._generation = 0
        for key in self._keys.values():
            self._read(key)

    def generation(self) -> int:
        """Return a number that changes with the keys: what was found good before counts no more."""
        if time.monotonic() >= self._look_again_at:
            with self._lock:
                self._look_again_at = time.monotonic() + FILE_CHECK_S
                for key in self._keys.values():
                    self._generation += self._read_if_changed(key)
        return self._generation

    def principal(self, token: str) -> Principal:
        """Return a token's bearer. Raises Unauthenticated."""
        jwt = self._jwt
        try:
            if len(token) > TOKEN_CHARACTERS:
                raise jwt.InvalidTokenError(f"it has more than {TOKEN_CHARACTERS} characters")
            algorithm = jwt.get_unverified_header(token).get("alg")
            key = self._keys.get(algorithm) if isinstance(algorithm, str) else None
            if key is None:
                raise jwt.InvalidTokenError(f"expected {' or '.join(self._keys)}")
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={
                    "require": ["exp"],
                    "verify_aud": self._audience is not None,
                },
            )
            return _principal(claims)
        except (jwt.PyJWTError, InvalidArgument, OverflowError) as error:
            raise Unauthenticated(
                f"the token is not good: {error}",
                hint='it needs "exp", and "access" with actions and collections; see README',
            ) from None

    def _read_if_changed(self, key: _Key) -> bool:
        try:
            if self._mark(key) == key.mark:
                return False
            self._read(key)
            log.info("%s was read again", key.setting)
        except InvalidArgument as error:
            log.error("%s; the key that it had before stays good", error)
            return False
        return True

    def _mark(self, key: _Key) -> tuple[int, int, int]:
        try:
            found = os.stat(key.path)
        except OSError as error:
            raise InvalidArgument(f"{key.setting} {key.path}: {error.strerror}") from None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _read(self, key: _Key) -> None:
        mark = self._mark(key)
        try:
            content = key.path.read_bytes()
        except OSError as error:
            raise InvalidArgument(f"{key.setting} {key.path}: {error.strerror}") from None
        if key.algorithm == "HS256":
            made: Any = content.strip()
            if len(made) < SECRET_BYTES:
                raise InvalidArgument(
                    f"{key.setting} {key.path} has {len(made)} bytes, expected at least "
                    f"{SECRET_BYTES}",
                    hint="openssl rand -hex 32 makes a good one",
                )
        else:
            made = _public_key(key, content)
        key.key, key.mark = made, mark


def _public_key(key: _Key, content: bytes) -> Any:  # noqa: ANN401 - of an optional package
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        made = load_pem_public_key(content)
    except Exception:  # it has no base of its own for all that is wrong with a file
        made = None
    if not isinstance(made, RSAPublicKey) or made.key_size < 2048:
        raise InvalidArgument(
            f"{key.setting} {key.path} holds no RSA public key of 2,048 bits or more as PEM"
        )
    return made


def _principal(claims: dict[str, Any]) -> Principal:
    """Return who claims say the bearer is. Raises InvalidArgument."""
    subject = claims.get("sub", "")
    if not isinstance(subject, str) or len(subject) > SUBJECT_CHARACTERS:
        raise InvalidArgument(f"sub: expected at most {SUBJECT_CHARACTERS} characters")
    access = claims.get("access", [])
    if not isinstance(access, list) or len(access) > GRANTS:
        raise InvalidArgument(f"access: expected a list of at most {GRANTS} objects")
    grants = tuple(_grant(one, f"access[{at}]") for at, one in enumerate(access))
    shown = "".join(character if character.isprintable() else "?" for character in subject)
    return Principal(f"jwt:{shown}", grants, expires_at_s=float(claims["exp"]) + LEEWAY_S)


def _grant(one: object, field: str) -> Grant:
    """Return what an entry of `access` allows; both lists are needed, so that none means none."""
    if not isinstance(one, dict) or one.keys() != {"actions", "collections"}:
        raise InvalidArgument(f"{field}: expected an object with actions and collections")
    for name, value in one.items():
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise InvalidArgument(f"{field}.{name}: expected a list of strings")
    return Grant(
        scopes.check_actions(one["actions"], f"{field}.actions"),
        scopes.check_collections(one["collections"], f"{field}.collections"),
    )
