"""Images in place of vectors: bytes and paths, in points, patches and queries."""

from __future__ import annotations

import pytest

from vecdb_client import (
    ImageFile,
    InvalidArgument,
    Near,
    Patch,
    Point,
    Recommend,
    WriteFailed,
)
from vecdb_client.batches import batches
from vecdb_client.operations import point_ops
from vecdb_client.pb import points_pb2
from vecdb_client.searches import search_request

PNG = b"\x89PNG\r\n\x1a\nwhatever follows"


def ops_of(points):
    (batch,) = batches(point_ops(points), collection="c", key="k", points_max=99, message_bytes=1e6)
    return points_pb2.WriteRequest.FromString(batch.body).ops, batch


def test_an_image_is_bytes_or_a_path_that_is_read(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    ops, _ = ops_of(
        [
            {"id": "key", "image": PNG},
            {"id": "path", "image": path},
            {"id": "vector", "vector": ImageFile(PNG)},
            {"id": "named", "vectors": {"photo": ImageFile(path)}},
            Point("point", image=PNG),
        ]
    )
    assert [op.put.id for op in ops] == ["key", "path", "vector", "named", "point"]
    for op in ops:
        ((space, vector),) = op.put.vectors.items()
        assert space == ("photo" if op.put.id == "named" else "")
        assert vector.WhichOneof("kind") == "image"
        assert vector.image == PNG


def test_columns_of_images_fill_a_space(books, server):
    vectors = [ImageFile(PNG), ImageFile(PNG + b"2")]
    books.upsert(ids=["a", "b"], vectors=vectors, on_error="collect")  # it has no model
    (write,) = server.writes
    assert [op.put.vectors[""].image for op in write.ops] == [PNG, PNG + b"2"]


def test_what_is_no_image_is_refused_and_the_rest_is_sent(books, server, tmp_path):
    with pytest.raises(WriteFailed) as failed:
        books.upsert(
            [
                {"id": "text", "image": "a.png"},
                {"id": "empty", "image": b""},
                {"id": "gone", "image": tmp_path / "gone.png"},
                {"id": "folder", "image": tmp_path},
                {"id": "two", "image": PNG, "text": "a ship"},
                {"id": "three", "image": PNG, "vector": [1.0]},
                {"id": "good", "image": PNG},
            ]
        )
    found = {one.id: one.message for one in failed.value.report.failures}
    assert "the bytes of a file, or a Path; got str" in found["text"]
    assert "an image is empty" in found["empty"]
    assert "gone.png: No such file" in found["gone"]
    assert "Is a directory" in found["folder"]
    assert "a text and an image, for one space" in found["two"]
    assert "a vector and an image, for one space" in found["three"]
    assert [op.put.id for op in server.writes[0].ops] == ["good"]


def test_a_patch_may_have_an_image(books, server):
    patches = [Patch("a", image=PNG), Patch("b", vectors={"photo": ImageFile(PNG)})]
    books.write(patches, on_error="collect")
    books.patch("c", image=PNG, on_error="collect")
    found = [op.patch.vectors for write in server.writes for op in write.ops]
    assert [next(iter(vectors.values())).image for vectors in found] == [PNG] * 3


def test_a_batch_has_fewer_images_than_texts():
    points = [{"id": str(n), "image": PNG} for n in range(40)]
    made = batches(point_ops(points), collection="c", key="k", points_max=999, message_bytes=1e6)
    assert [len(batch.ids) for batch in made] == [16, 16, 8]


def test_an_image_is_a_query(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    for search in (
        {"image": PNG},
        {"image": path},
        {"query": ImageFile(PNG)},
        {"legs": [Near(ImageFile(path))]},
    ):
        (leg,) = search_request("c", **search).legs
        assert leg.near.vector.image == PNG
    first, second = search_request("c", image=PNG, keyword="ship", hybrid=True).legs
    assert (first.near.vector.image, second.keyword.text) == (PNG, "ship")
    (leg,) = search_request("c", legs=[Recommend([ImageFile(PNG), "a ship"])]).legs
    assert [one.WhichOneof("kind") for one in leg.recommend.positive] == ["image", "text"]


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"image": PNG, "query": [1.0]}, "give query, or image"),
        ({"image": PNG, "keyword": "a"}, "one of query, image, keyword and sparse"),
        ({"image": PNG, "sparse": {1: 1.0}}, "one of query, image, keyword and sparse"),
        ({"image": PNG, "legs": [Near([1.0])]}, "legs say all themselves"),
        ({"image": b""}, "an image is empty"),
        ({"image": "a.png"}, "got str"),
        ({"query": PNG}, "bytes could be numbers of any type"),
    ],
)
def test_what_does_not_go_together_is_refused(search, said):
    with pytest.raises(InvalidArgument, match=said):
        search_request("c", **search)


def test_pieces_of_an_image_are_not_shown():
    assert "PNG" not in repr(ImageFile(PNG))
    assert "PNG" not in repr(Near(ImageFile(PNG)))
