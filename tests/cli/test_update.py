"""`vecdb collections update` and `clone` against a server, in processes of their own."""

from __future__ import annotations

import json

from tests.cli.test_commands import failed, vecdb
from tests.live import LiveServer, wait_until
from vecdb_client import Point


def test_spaces_and_text_fields_come_and_go(server: LiveServer) -> None:
    def update(*words: str):
        return vecdb("collections", "update", "turning", *words, address=server.address)

    with server.client() as client:
        client.create_collection("turning", dim=2)
        client.collection("turning").upsert([Point("a", [1, 2], {"title": "An old boat"})])
    done = update(
        *"--add-space b=3:manhattan --add-space s=sparse:idf --add-text title:english".split()
    )
    assert (done.returncode, done.stdout) == (0, "turning: (default), b, s; text fields: title\n")
    with server.client() as client:
        turning = client.collection("turning")
        assert turning.info().spaces["b"].metric == "manhattan"
        assert turning.info().spaces["s"].idf
        wait_until(lambda: not turning.stats().text_pending_points)
        assert [hit.id for hit in turning.search(keyword="boats")] == ["a"]
    done = update("--drop-space", "", "--drop-space", "b", "--drop-text", "title")
    assert done.stdout == "turning: s; text fields: none\n"
    found = vecdb("get", "a", "-c", "turning", "--vectors", address=server.address)
    assert json.loads(found.stdout)["vectors"] == {}
    done = vecdb("collections", "clone", "turning", "turned", address=server.address)
    assert done.stdout == "turned has 1 points\n"
    done = vecdb("collections", "clone", "turning", "turned", address=server.address)
    failed(done, "ALREADY_EXISTS")
    assert update("--points-max", "1").returncode == 0
    with server.client() as client:
        assert client.collection("turning").info().points_max == 1
    failed(update(), "nothing to change")
    failed(update("--add-space", "c"), "expected NAME=KIND")
    failed(update("--add-space", "c=3:angle"), "cosine, dot, euclid, manhattan")
    failed(update("--add-space", "c=sparse:bm25"), "sparse:bm25")
    failed(update("--add-space", "c=no-such-model"), "no-such-model")
    failed(update("--drop-space", "c"), "'c' is not there: the collection has 's'")
