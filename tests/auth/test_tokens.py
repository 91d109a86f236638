"""Tokens: which are good, and that a token is good for nothing that it does not name."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from vecdb import kept_file
from vecdb.auth.authenticator import Authenticator
from vecdb.auth.scopes import ADMIN, READ, WRITE
from vecdb.config import AuthConfig
from vecdb.errors import InvalidArgument, Unauthenticated

SECRET = "0123456789abcdef0123456789abcdef"
ACCESS = [{"actions": ["read", "write"], "collections": ["docs-*"]}]


@pytest.fixture(scope="module")
def rsa(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the files of a private key, and of its public key."""
    folder = tmp_path_factory.mktemp("rsa")
    private, public = folder / "private.pem", folder / "public.pem"
    made = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(private)]
    subprocess.run(["openssl", "genpkey", *made], check=True, capture_output=True)
    shown = ["-in", str(private), "-pubout", "-out", str(public)]
    subprocess.run(["openssl", "pkey", *shown], check=True)
    return private, public


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    return path


def asker(**settings: Any) -> Authenticator:
    return Authenticator(AuthConfig(**{k: str(v) for k, v in settings.items()}), lambda: None)


def claims(**more: Any) -> dict[str, Any]:
    return {"sub": "ingest", "exp": int(time.time()) + 60, "access": ACCESS, **more}


def bearer(claims: dict[str, Any], key: Any = SECRET, algorithm: str = "HS256") -> str:
    return f"Bearer {jwt.encode(claims, key, algorithm)}"


def test_a_token_may_what_its_access_says(secret_file: Path) -> None:
    found = asker(jwt_secret_file=secret_file).principal(bearer(claims()))
    assert found.id == "jwt:ingest"
    assert found.may(READ, "docs-1")
    assert found.may(WRITE, "docs-1")
    assert not found.may(READ, "other")
    assert not found.may(ADMIN, "docs-1")


def test_rs256_by_a_public_key(rsa: tuple[Path, Path]) -> None:
    private, public = rsa
    token = bearer(claims(), private.read_text(), "RS256")
    assert asker(jwt_public_key_file=public).principal(token).may(READ, "docs-1")


@pytest.mark.parametrize("access", [None, [], [{"actions": ["read"], "collections": []}]])
def test_without_access_nothing_is_allowed(secret_file: Path, access: object) -> None:
    given = claims()
    given.pop("access")
    if access is not None:
        given["access"] = access
    found = asker(jwt_secret_file=secret_file).principal(bearer(given))
    assert not found.may(READ, "docs-1")


@pytest.mark.parametrize(
    "access",
    [
        "all",
        [7],
        [{"actions": ["read"]}],
        [{"actions": ["fly"], "collections": ["*"]}],
        [{"actions": "read", "collections": ["*"]}],
        [{"actions": ["read"], "collections": ["../*"]}],
        [{"actions": ["read"], "collections": ["*"], "more": 1}],
        [{"actions": ["read"], "collections": ["*"]}] * 101,
    ],
)
def test_access_that_means_nothing_opens_nothing(secret_file: Path, access: object) -> None:
    with pytest.raises(Unauthenticated, match="access"):
        asker(jwt_secret_file=secret_file).principal(bearer(claims(access=access)))


def test_a_token_ends_thirty_seconds_late(secret_file: Path) -> None:
    ask = asker(jwt_secret_file=secret_file)
    now = int(time.time())
    ask.principal(bearer(claims(exp=now - 10)))
    with pytest.raises(Unauthenticated):
        ask.principal(bearer(claims(exp=now - 40)))


def test_a_token_that_was_good_ends_too(secret_file: Path, monkeypatch) -> None:
    ask = asker(jwt_secret_file=secret_file)
    token = bearer(claims())
    ask.principal(token)
    later = time.time() + 100
    monkeypatch.setattr("vecdb.auth.authenticator.time.time", lambda: later)
    with pytest.raises(Unauthenticated, match="expired"):
        ask.principal(token)


def test_a_token_without_an_end_is_none(secret_file: Path) -> None:
    given = claims()
    del given["exp"]
    with pytest.raises(Unauthenticated, match="exp"):
        asker(jwt_secret_file=secret_file).principal(bearer(given))


def test_not_before_and_audience_and_issuer_count(secret_file: Path) -> None:
    ask = asker(jwt_secret_file=secret_file, jwt_audience="vecdb", jwt_issuer="us")
    good = claims(aud="vecdb", iss="us")
    ask.principal(bearer(good))
    for wrong in ({"aud": "other"}, {"iss": "them"}, {"nbf": int(time.time()) + 100}):
        with pytest.raises(Unauthenticated):
            ask.principal(bearer(good | wrong))
    with pytest.raises(Unauthenticated):
        ask.principal(bearer(claims()))


def test_a_forged_token_is_none(secret_file: Path) -> None:
    ask = asker(jwt_secret_file=secret_file)
    with pytest.raises(Unauthenticated):
        ask.principal(bearer(claims(), "another-secret-of-32-characters!!"))
    with pytest.raises(Unauthenticated):
        ask.principal(bearer(claims(), None, "none"))
    head, body, seal = jwt.encode(claims(), SECRET).split(".")
    for forged in (f"{head}.{body}.", f"{head}.{body}.{seal[:-2]}AA", "a.b.c", "..", f".{body}."):
        with pytest.raises(Unauthenticated):
            ask.principal(f"Bearer {forged}")


def test_a_public_key_is_never_a_shared_secret(rsa: tuple[Path, Path], secret_file: Path) -> None:
    """The old attack: a token that is signed by HMAC with the text of the public key."""
    public = rsa[1].read_bytes()

    def part(value: object) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    signed = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(claims())
    seal = base64.urlsafe_b64encode(hmac.digest(public, signed, hashlib.sha256)).rstrip(b"=")
    token = f"Bearer {(signed + b'.' + seal).decode()}"
    for ask in (
        asker(jwt_public_key_file=rsa[1]),
        asker(jwt_public_key_file=rsa[1], jwt_secret_file=secret_file),
    ):
        with pytest.raises(Unauthenticated):
            ask.principal(token)


def test_a_secret_that_was_replaced_ends_its_tokens(secret_file: Path, monkeypatch) -> None:
    monkeypatch.setattr(kept_file, "CHECK_S", 0.0)
    ask = asker(jwt_secret_file=secret_file)
    token = bearer(claims())
    ask.principal(token)
    replaced = SECRET[::-1]
    secret_file.write_text(replaced)
    with pytest.raises(Unauthenticated):
        ask.principal(token)
    ask.principal(bearer(claims(), replaced))
    secret_file.write_text("short")  # a mistake of the operator's: the one before goes on
    ask.principal(bearer(claims(), replaced))


def test_files_that_are_no_keys_are_refused_at_start(tmp_path: Path) -> None:
    weak = tmp_path / "weak"
    weak.write_text("secret")
    for settings in (
        {"jwt_secret_file": weak},
        {"jwt_secret_file": tmp_path / "absent"},
        {"jwt_public_key_file": weak},
    ):
        with pytest.raises(InvalidArgument, match=r"auth\.jwt_"):
            asker(**settings)


def test_a_long_token_is_not_looked_at(secret_file: Path) -> None:
    with pytest.raises(Unauthenticated, match="characters"):
        asker(jwt_secret_file=secret_file).principal(bearer(claims(sub="x" * 9_000)))
