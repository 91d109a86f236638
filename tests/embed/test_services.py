"""Models that a service runs, over a real socket: what each API is asked, what becomes of it."""

import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.embed import providers
from tests.embed.providers import APIS, COHERE, GEMINI, KEY, MODEL, OPENAI, VERTEX, unit_of
from tests.embed.services import TEXTS, check, encode, every_api
from tests.examples import examples
from vecdb.embed.encoder import Role
from vecdb.errors import InvalidArgument

# --- what is asked, and what comes back


@every_api
@pytest.mark.parametrize("role", Role)
def test_texts_become_vectors_of_their_role(make_service, provider, api, role):
    options = {"query_body": {"input_type": "query"}} if api is OPENAI else {}
    found = encode(make_service(api, **options), TEXTS, role)
    assert isinstance(found, np.ndarray)
    check(found, TEXTS, query=role is Role.QUERY)
    assert provider.texts == [TEXTS]


def test_the_address_and_header_of_each_api(make_service, provider):
    for api in APIS:
        encode(make_service(api), ["a"])
    assert [one.path for one in provider.seen] == [
        "/v1/embeddings",
        "/v1beta/models/some-model:batchEmbedContents",
        "/v1/projects/p/locations/r/publishers/google/models/some-model:predict",
        "/v2/embed",
    ]
    for one in provider.seen:
        name = "x-goog-api-key" if "batchEmbed" in one.path else "authorization"
        assert one.headers[name].endswith(KEY)
        assert one.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "tail", ["/v1", "/v1/", "/v1/embeddings", "/v1/embeddings?api-version=1", "/v1?api-version=1"]
)
def test_the_endpoint_is_a_base_or_the_whole_address(make_service, provider, tail):
    check(encode(make_service(endpoint=provider.url + tail), ["a"]), ["a"])
    assert provider.seen[0].path.startswith("/v1/embeddings")
    assert provider.seen[0].path.endswith("version=1") == ("?" in tail)


def test_lists_are_taken_where_base64_is_not_known(make_service, provider):
    provider.lists = True
    check(encode(make_service(), TEXTS), TEXTS)


@every_api
def test_prompts_of_the_entry_go_in_front(make_service, provider, api):
    encoder = make_service(api, {"query_prompt": "Q: ", "document_prompt": "D: "})
    encode(encoder, ["a"], Role.QUERY)
    encode(encoder, ["a"], Role.DOCUMENT)
    assert provider.texts == [["Q: a"], ["D: a"]]


@pytest.mark.parametrize("api", [GEMINI, VERTEX, COHERE], ids=lambda api: api.kind)
def test_tasks_can_be_chosen(make_service, provider, api):
    encoder = make_service(api, query_task="CLUSTERING", document_task="CLASSIFICATION")
    encode(encoder, ["a"], Role.QUERY)
    encode(encoder, ["a"], Role.DOCUMENT)
    assert "CLUSTERING" in str(provider.seen[0].body)
    assert "CLASSIFICATION" in str(provider.seen[1].body)


@every_api
def test_shorter_vectors_are_asked_for_and_of_unit_length(make_service, api):
    (found,) = encode(make_service(api, {"dim": 5}, ask_dimensions=True), ["a"])
    np.testing.assert_allclose(found, unit_of("a", dim=5), atol=1e-6)


def test_nothing_is_normalised_where_the_entry_says_so(make_service):
    (found,) = encode(make_service(entry={"normalize": False}), ["a"])
    np.testing.assert_allclose(found, providers.vector_of("a"), rtol=1e-6)


def test_bodies_have_what_the_role_adds_and_nothing_is_overwritten(make_service, provider):
    encoder = make_service(document_body={"input_type": "passage", "model": "other", "user": "me"})
    encode(encoder, ["a"])
    assert provider.seen[0].body["input_type"] == "passage"
    assert (provider.seen[0].body["model"], provider.seen[0].body["user"]) == (MODEL, "me")


@pytest.mark.parametrize(
    ("api", "items", "tokens"),
    [(OPENAI, 64, 32_768), (GEMINI, 100, 204_800), (VERTEX, 250, 20_000), (COHERE, 96, 49_152)],
    ids=lambda one: getattr(one, "kind", None),
)
def test_batches_keep_to_the_limits_of_the_api(make_service, api, items, tokens):
    batching = make_service(api).batching
    assert (batching.items, batching.tokens, batching.at_once) == (items, tokens, 4)
    less = make_service(api, batch_items=2, batch_tokens=100, at_once=1).batching
    assert (less.items, less.tokens, less.at_once) == (2, 100, 1)
    more = make_service(api, batch_items=1000).batching
    assert more.items == (1000 if api is OPENAI else items)


# --- lengths


def prepared(encoder, text, role=Role.DOCUMENT):
    (one,) = encoder.prepare([text], role)
    return one


def test_a_text_within_the_limit_is_left_alone(make_service):
    one = prepared(make_service(), "a few words")
    assert (one.input.text, one.truncated) == ("a few words", False)
    assert 3 <= len(one.input) <= 8


@pytest.mark.parametrize("letter", ["a", "я", "语", "🤖"])
def test_a_long_text_is_cut_between_letters_and_says_so(make_service, letter):
    encoder = make_service()
    one = prepared(encoder, letter * 3000)
    assert one.truncated
    assert set(one.input.text) == {letter}
    assert len(one.input) <= 256
    bytes_per_token = 3 if letter == "a" else 2
    size = len(one.input.text.encode())
    assert 254 * bytes_per_token - 4 < size <= 254 * bytes_per_token
    again = prepared(encoder, one.input.text)
    assert (again.input.text, again.truncated) == (one.input.text, False)


def test_ten_megabytes_cost_what_their_beginning_does(make_service):
    started = time.process_time()
    one = prepared(make_service(), "word " * 2_000_000)
    assert one.truncated
    assert len(one.input.text) < 800
    assert time.process_time() - started < 0.5


def test_the_estimate_is_an_option(make_service):
    assert not prepared(make_service(bytes_per_token=4.0), "a" * 1000).truncated
    assert prepared(make_service(), "a" * 1000).truncated


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(60))
@given(st.text(min_size=1, max_size=2000), st.sampled_from(Role))
def test_every_text_is_sent_whole_or_reported(make_service, text, role):
    encoder = make_once(make_service)
    if any("\ud800" <= letter <= "\udfff" for letter in text[:700]):
        with pytest.raises(InvalidArgument, match=r"items\[0\] holds half a surrogate"):
            prepared(encoder, text, role)
        return
    one = prepared(encoder, text, role)
    assert 1 <= len(one.input) <= 256
    assert one.truncated == (one.input.text != text)
    assert text.startswith(one.input.text)


def make_once(make_service):
    if not hasattr(make_service, "once"):
        make_service.once = make_service()
    return make_service.once


def test_half_a_surrogate_pair_names_its_item(make_service):
    with pytest.raises(InvalidArgument, match="surrogate") as caught:
        make_service().prepare(["a", "\ud800"], Role.QUERY)
    assert caught.value.field == "items[1]"


# --- threads


def test_many_threads_share_a_model(make_service):
    encoder = make_service(at_once=3)
    found = {}

    def call(number):
        texts = [f"{number} {at}" for at in range(5)]
        found[number] = encode(encoder, texts), texts

    threads = [threading.Thread(target=call, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 12
    for outputs, texts in found.values():
        check(outputs, texts)
