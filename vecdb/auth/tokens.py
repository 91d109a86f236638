"""JSON Web Tokens: who their bearer is, by a key that the operator configured.

HS256 with a shared secret, RS256 with a public key; the token says which, and each has its own
key, so that neither is ever checked with the other's. What a token may do stands in its claim
``access``, without which it may do nothing:

    {"sub": "ingest-7", "exp": 1790000000,
     "access": [{"actions": ["read", "write"], "collections": ["docs-*"]}]}
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vecdb.auth import scopes
from vecdb.auth.scopes import Grant, Principal
from vecdb.config import AuthConfig
from vecdb.errors import FailedPrecondition, InvalidArgument, Unauthenticated
from vecdb.kept_file import KeptFile

LEEWAY_S = 30.0
SECRET_BYTES = 32
TOKEN_CHARACTERS = 8_192
GRANTS = 100
SUBJECT_CHARACTERS = 128
_EXTRA = "pip install 'vecdb[jwt]'"


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
        files = (
            ("HS256", "auth.jwt_secret_file", config.jwt_secret_file, _secret),
            ("RS256", "auth.jwt_public_key_file", config.jwt_public_key_file, _public_key),
        )
        self._keys: dict[str, KeptFile[Any]] = {
            algorithm: KeptFile(setting, Path(path), read)
            for algorithm, setting, path, read in files
            if path
        }

    def generation(self) -> int:
        """Return a number that changes with the keys: what was found good before counts no more."""
        for key in self._keys.values():
            key.now()
        return sum(key.generation for key in self._keys.values())

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
                key.now(),
                algorithms=[algorithm],
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


def _secret(content: bytes) -> bytes:
    """Return the secret of HS256 that a file holds. Raises InvalidArgument."""
    secret = content.strip()
    if len(secret) < SECRET_BYTES:
        raise InvalidArgument(
            f"has {len(secret)} bytes, expected at least {SECRET_BYTES}",
            hint="openssl rand -hex 32 makes a good one",
        )
    return secret


def _public_key(content: bytes) -> Any:  # noqa: ANN401 - of an optional package
    """Return the RSA key that a PEM file holds. Raises InvalidArgument."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        made = load_pem_public_key(content)
    except Exception:  # it has no base of its own for all that is wrong with a file
        made = None
    if not isinstance(made, RSAPublicKey) or made.key_size < 2048:
        raise InvalidArgument("holds no RSA public key of 2,048 bits or more as PEM")
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
