"""A first look at a live server: the ten lines of the README."""

from __future__ import annotations

from vecdb_client import Client, F


def test_create_write_search(client: Client) -> None:
    books = client.create_collection("books", dim=3)
    report = books.upsert(
        [
            {"id": "dune", "vector": [0.9, 0.1, 0.0], "payload": {"year": 1965}},
            {"id": "emma", "vector": [0.0, 0.2, 0.9], "payload": {"year": 1815}},
        ]
    )
    assert report.written == 2
    result = books.search([1, 0, 0], k=2, filter=F("year") >= 1900)
    assert [(hit.id, hit.payload) for hit in result] == [("dune", {"year": 1965})]
    assert result.complete
    assert result.matched == 1
    assert books.count() == 2
    assert [point.id for point in books.list()] == ["dune", "emma"]
    assert client.delete_collection("books")
