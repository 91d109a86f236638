"""Entries of services: keys, addresses, what an operator adds to them, and what stays unseen."""

import logging
import os

import pytest

from tests.embed import providers
from tests.embed.providers import GEMINI, KEY, VERTEX, body, cut, slow, status
from tests.embed.services import TEXTS, VARIABLE, check, encode, every_api
from vecdb.embed import catalog
from vecdb.errors import FailedPrecondition, InvalidArgument, VecdbError

# --- the entry, the key


def test_a_key_from_a_file_goes_before_the_variable(make_service, provider, tmp_path):
    provider.key = "of-the-file"
    path = tmp_path / "key"
    path.write_text("of-the-file\n")
    check(encode(make_service(key_file=str(path)), ["a"]), ["a"])


def test_a_key_that_was_renewed_in_its_file_is_read_again(make_service, provider, tmp_path):
    path = tmp_path / "key"
    path.write_text(KEY)
    encoder = make_service(VERTEX, key_file=str(path))
    encode(encoder, ["a"])
    provider.key = "the-next-token"
    with pytest.raises(FailedPrecondition, match="refused the key"):
        encode(encoder, ["a"])
    path.write_text("the-next-token")
    check(encode(encoder, ["a"]), ["a"])


def test_a_service_without_keys_gets_none(make_service, provider):
    provider.key = ""
    check(encode(make_service(key_env=""), ["a"]), ["a"])
    assert "authorization" not in provider.seen[0].headers


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_a_missing_key_names_option_and_variable(make_service, monkeypatch, value):
    monkeypatch.delenv(VARIABLE) if value is None else monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(FailedPrecondition, match=rf"key is missing.*key_env.*variable {VARIABLE}"):
        make_service()


def test_a_key_file_that_is_not_there_is_named(make_service, tmp_path):
    with pytest.raises(FailedPrecondition, match=r"No such file.*key_file, .*nowhere"):
        make_service(key_file=str(tmp_path / "nowhere"))


@pytest.mark.parametrize("secret", ["two words-secret", "new\nline-secret", "ключ-secret"])
def test_a_key_that_no_header_can_carry_is_refused_unseen(make_service, tmp_path, secret):
    path = tmp_path / "key"
    path.write_text(secret)
    with pytest.raises(FailedPrecondition) as caught:
        make_service(key_file=str(path))
    assert "secret" not in str(caught.value)


@every_api
def test_a_refused_key_says_where_it_came_from(make_service, provider, api):
    provider.key = "another"
    with pytest.raises(FailedPrecondition, match=rf"refused the key of remote.*{VARIABLE}"):
        encode(make_service(api), TEXTS)
    assert len(provider.seen) == 1


@pytest.mark.parametrize("api", [GEMINI, VERTEX], ids=lambda api: api.kind)
def test_a_model_that_the_service_does_not_know(make_service, provider, api):
    provider.faults += [status(404, "no such model")]
    with pytest.raises(FailedPrecondition, match=r"HTTP 404: no such model.*source"):
        encode(make_service(api), TEXTS)
    assert len(provider.seen) == 1


def test_a_redirect_is_not_followed(make_service, provider):
    with providers.serving() as other:
        provider.faults += [status(307, Location=f"{other.url}/v1/embeddings")]
        with pytest.raises(FailedPrecondition, match=r"sends us elsewhere \(HTTP 307\)"):
            encode(make_service(), ["a"])
        assert other.seen == []


def test_proxies_of_the_environment_are_not_used(make_service, monkeypatch, tmp_path):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    check(encode(make_service(), ["a"]), ["a"])


def test_a_proxy_that_was_asked_for_is(make_service, provider):
    encoder = make_service(endpoint="http://elsewhere.invalid/v1", proxy=provider.url)
    check(encode(encoder, ["a"]), ["a"])
    assert provider.seen[0].headers["host"] == "elsewhere.invalid"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"endpoint": ""}, "has no endpoint"),
        ({"endpoint": "ftp://host/v1"}, "no address of http"),
        ({"endpoint": "host/v1"}, "no address of http"),
        ({"endpoint": "http://"}, "no address of http"),
        ({"endpoint": "http://host:a/"}, "no address"),
        ({"endpoint": "http://me:word@host/v1"}, "holds a name or password"),
        ({"proxy": "nonsense:word"}, "proxy is no address"),
        ({"ca_file": "/nowhere/ca.pem"}, "No such file"),
        ({"batch_items": 0}, "batch_items of remote is at least 1"),
        ({"at_once": 0}, "at_once of remote is at least 1"),
        ({"bytes_per_token": 0.0}, "bytes_per_token of remote is from 1 to 16"),
    ],
)
def test_a_wrong_option_is_named(make_service, options, said):
    with pytest.raises(FailedPrecondition, match=said) as caught:
        make_service(**options)
    assert "word" not in str(caught.value).replace("password", "")


def test_a_file_that_holds_no_certificate(make_service, tmp_path):
    path = tmp_path / "ca.pem"
    path.write_text("nothing")
    with pytest.raises(FailedPrecondition, match="certificate"):
        make_service(ca_file=str(path))


# --- secrets


FAULTS = [
    status(401, f"bad key {KEY}"),
    status(403, f"bad key {KEY}"),
    status(429, f"too fast, {KEY}"),
    status(500, f"oh {KEY}"),
    status(400, f"{KEY} is not welcome\n\x1b[31m"),
    status(404, KEY),
    body(KEY.encode()),
    cut(0),
    slow,
]


@every_api
def test_the_key_is_in_no_message_and_no_log(make_service, provider, api, caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    encoder = make_service(api)
    encode(encoder, TEXTS)
    said = [repr(encoder), repr(encoder._endpoint), repr(encoder._endpoint._address.key)]
    said += [repr(vars(encoder)), repr(encoder._endpoint._client)]
    for fault in FAULTS:
        provider.faults.clear()
        provider.faults += [fault] * 200
        try:
            outputs = encode(encoder, ["a"], within_s=0.2)
            said += [repr(one) for one in outputs] + [str(one) for one in outputs]
            assert all(isinstance(one, VecdbError) for one in outputs)
        except VecdbError as error:
            said += [str(error), repr(error), repr(error.details), repr(vars(error))]
    said += [record.getMessage() for record in caplog.records]
    said.append(caplog.text)
    assert [text for text in said if KEY in text] == []
    assert not [text for text in said[:-1] if "\x1b" in text]


def test_the_environment_is_read_when_a_model_is_loaded(make_service, monkeypatch):
    encoder = make_service()
    monkeypatch.delenv(VARIABLE)
    assert VARIABLE not in os.environ
    check(encode(encoder, ["a"]), ["a"])


# --- the catalogue

VERTEX_MODEL = "text-multilingual-embedding-002"


@pytest.fixture
def own(tmp_path):
    """Write an operator's catalogue: own(lines) -> all entries."""

    def write(said):
        path = tmp_path / "catalog.toml"
        path.write_text(said)
        return catalog.load_catalog(str(path))

    return write


def test_the_services_that_vecdb_knows():
    known = {name: spec for name, spec in catalog.load_catalog().items() if spec.of_kind.remote}
    assert {name: (spec.kind, spec.dim, spec.max_tokens) for name, spec in known.items()} == {
        "gemini-embedding-exp-03-07": ("gemini", 3072, 8192),
        "gemini-embedding-001": ("gemini", 3072, 2048),
        "text-multilingual-embedding-002": ("vertex", 768, 2048),
        "cohere-embed-multilingual-v3.0": ("cohere", 1024, 512),
        "text-embedding-3-small": ("openai", 1536, 8191),
        "text-embedding-3-large": ("openai", 3072, 8191),
    }
    prints = {catalog.fingerprint(spec) for spec in known.values()}
    assert len(prints) == len(known)
    assert all(spec.options["key_env"] for spec in known.values())


def test_a_retired_model_names_its_successor():
    spec = catalog.load_catalog()["gemini-embedding-exp-03-07"]
    said = catalog.missing(spec)
    assert "discontinued on 30 October 2025" in said
    assert "gemini-embedding-001" in said
    assert "never mix" in said


def test_an_entry_that_lacks_its_address_says_how_to_complete_it(own):
    pytest.importorskip("httpx", reason="needs the remote extra")
    said = catalog.missing(catalog.load_catalog()[VERTEX_MODEL])
    table = f"[models.{VERTEX_MODEL}.options]"
    assert said.endswith(f"set endpoint below {table} in the catalogue that embed.catalog names")
    spec = own(f'{table}\nendpoint = "https://r.example/v1"\nkey_file = "/run/token"')[VERTEX_MODEL]
    assert catalog.missing(spec) == ""
    assert spec.options == {
        "endpoint": "https://r.example/v1",
        "key_env": "VERTEX_ACCESS_TOKEN",
        "key_file": "/run/token",
    }
    assert (spec.dim, spec.source) == (768, VERTEX_MODEL)


def test_where_a_service_is_changes_no_vector(own):
    before = catalog.load_catalog()["text-embedding-3-small"]
    table = "[models.text-embedding-3-small.options]"
    moved = own(f'{table}\nendpoint = "https://g.example"\nbatch_items = 3\nproxy = "http://p:1"')
    assert catalog.fingerprint(moved[before.name]) == catalog.fingerprint(before)
    for change in ("ask_dimensions = true", 'query_body = {a = "b"}', "bytes_per_token = 4"):
        changed = own(f"{table}\n{change}")[before.name]
        assert catalog.fingerprint(changed) != catalog.fingerprint(before)


def test_a_key_has_no_place_in_a_catalogue(own):
    with pytest.raises(InvalidArgument, match="unknown option 'key' of cohere") as caught:
        own('[models."cohere-embed-multilingual-v3.0".options]\nkey = "secret"')
    assert "secret" not in str(caught.value)
