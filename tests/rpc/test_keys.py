"""API keys at a real server, of one process and of several: who gets in, to what, until when."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.live import LiveServer, run_vecdb, wait_until
from tests.test_conformance import METHODS
from vecdb.auth.audit import LOOK_S
from vecdb.rpc.pb import points_pb2
from vecdb_client import (
    NO_RETRIES,
    Client,
    FailedPrecondition,
    NotFound,
    Overloaded,
    PermissionDenied,
    Point,
    QuotaExceeded,
    Unauthenticated,
)


def vecdb(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run_vecdb(*arguments)


class Keyed(LiveServer):
    """A server with keys; `root` may do everything."""

    root = ""

    def client(self, **options: object) -> Client:
        return super().client(**{"api_key": self.root, "retries": NO_RETRIES, **options})

    def audited(self, **wanted: object) -> list[dict[str, object]]:
        """Return the lines of the audit log that say this."""
        lines = map(json.loads, Path(str(self.settings["audit.file"])).read_text().splitlines())
        return [one for one in lines if wanted.items() <= one.items()]


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two workers"])
def keyed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Keyed]:
    folder = tmp_path_factory.mktemp("keyed")
    settings = {
        "embed.enabled": "false",
        "server.workers": request.param,
        "audit.file": folder / "audit.jsonl",
        "server.log_level": "debug",
    }
    server = Keyed(folder / "data", settings)
    made = vecdb("keys", "create", "root", "--allow", "all", "--data", server.data)
    assert made.returncode == 0, made.stderr
    server.root = made.stdout.strip()
    server.start()
    with server.client() as client:
        for name in ("docs-1", "docs-2", "secret"):
            client.create_collection(name, dim=2).upsert([Point("a", [1.0, 0.0])])
    yield server
    assert server.stop() == 0


def test_every_call_asks_who_calls(keyed: Keyed) -> None:
    with grpc.insecure_channel(keyed.address) as channel:
        for method in METHODS.values():
            path = f"/{method.containing_service.full_name}/{method.name}"
            for metadata in ((), (("authorization", "Bearer vecdb_none_such"),)):
                with pytest.raises(grpc.RpcError) as caught:
                    channel.unary_unary(path)(b"\xff" * 100, metadata=metadata, timeout=30)
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED, path


def test_whether_it_serves_is_no_secret(keyed: Keyed) -> None:
    with keyed.client(api_key=None) as client:
        assert client.health() == "SERVING"


def test_nothing_of_a_strangers_message_is_kept(keyed: Keyed) -> None:
    """A message is refused before it is read: also one above every limit."""
    points = [Point(f"{n}", [0.5, 0.5], {"text": "x" * 50_000}) for n in range(100)]
    with keyed.client(api_key=None) as client, pytest.raises(Unauthenticated):
        client.collection("docs-1").upsert(points)
    with keyed.client() as client:
        assert client.collection("docs-1").count() == 1


def test_a_key_may_what_it_was_made_for(keyed: Keyed) -> None:
    with keyed.client() as root:
        reader = root.create_key("reader", ["read"], collections=["docs-*"])
    with keyed.client(api_key=reader.secret) as client:
        assert client.collection("docs-1").search([1.0, 0.0]).hits[0].id == "a"
        assert {one.name for one in client.list_collections()} == {"docs-1", "docs-2"}
        for refused in (
            lambda: client.collection("docs-1").upsert([Point("b", [0.0, 1.0])]),
            lambda: client.collection("secret").search([1.0, 0.0]),
            lambda: client.collection("not-there").search([1.0, 0.0]),
            lambda: client.collection("secret").count(),
            lambda: list(client.collection("secret").export()),
            lambda: client.create_collection("docs-3", dim=2),
            lambda: client.delete_collection("docs-1"),
            lambda: client.list_models(),
            lambda: client.list_keys(),
            lambda: client.create_key("more", ["admin"]),
        ):
            with pytest.raises(PermissionDenied):
                refused()


def test_streams_ask_for_each_write(keyed: Keyed) -> None:
    with keyed.client() as root:
        writer = root.create_key("writer", ["write"], collections=["docs-2"])
    metadata = (("authorization", f"Bearer {writer.secret}"),)

    def request(number: int, collection: str) -> bytes:
        write = points_pb2.WriteRequest(collection=collection)
        write.ops.add().delete.id = "not there"
        return points_pb2.WriteStreamRequest(number=number, write=write).SerializeToString()

    with grpc.insecure_channel(keyed.address) as channel:
        stream = channel.stream_stream("/vecdb.v1.Points/WriteStream")
        good = [request(number, "docs-2") for number in range(1, 4)]
        answered = [
            points_pb2.WriteStreamResponse.FromString(one).number
            for one in stream(iter(good), metadata=metadata, timeout=30)
        ]
        assert answered == [0, 1, 2, 3]
        with pytest.raises(grpc.RpcError) as caught:
            list(stream(iter([*good, request(4, "docs-1")]), metadata=metadata, timeout=30))
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    (refused,) = keyed.audited(key=writer.info.id, result="PERMISSION_DENIED")
    assert refused["collections"] == ["docs-2", "docs-1"]


def test_an_alias_is_asked_for_by_its_own_name(keyed: Keyed) -> None:
    with keyed.client() as root:
        one = root.create_key("of the alias", ["read"], collections=["public"])
        root.set_aliases({"public": "secret"})
    with keyed.client(api_key=one.secret) as client:
        assert client.collection("public").count() == 1
        assert client.list_aliases() == {"public": "secret"}
        with pytest.raises(PermissionDenied):
            client.collection("secret").count()
    with keyed.client() as root:
        root.set_aliases({"public": None})


def test_who_names_a_collection_must_manage_it(keyed: Keyed) -> None:
    with keyed.client() as root:
        one = root.create_key("of docs", ["read", "manage"], collections=["docs-*"])
    with keyed.client(api_key=one.secret) as client:
        for refused in (
            lambda: client.set_aliases({"docs-now": "secret"}),
            lambda: client.set_aliases({"now": "docs-1"}),
            lambda: client.clone_collection("secret", "docs-copy"),
            lambda: client.clone_collection("docs-1", "copy"),
        ):
            with pytest.raises(PermissionDenied):
                refused()
        client.set_aliases({"docs-now": "docs-1"})
        client.set_aliases({"docs-now": None})


def test_a_revoked_key_is_refused_by_all_processes_at_once(keyed: Keyed) -> None:
    with keyed.client() as root:
        for _ in range(5):
            made = root.create_key("short", ["read"])
            clients = [keyed.client(api_key=made.secret) for _ in range(4)]
            for client in clients:
                assert client.collection("docs-1").count() == 1
            root.revoke_key(made.info.id)
            for client in clients:
                with pytest.raises(Unauthenticated):
                    client.collection("docs-1").count()
                client.close()
        assert root.revoke_key(made.info.id).revoked_at is not None  # again is fine
        with pytest.raises(NotFound):
            root.revoke_key("not-there")


def test_a_key_is_replaced_without_a_call_refused(keyed: Keyed) -> None:
    with keyed.client() as root:
        old = root.create_key("worker", ["read"], collections=["docs-1"], calls_per_s=100)
        new = root.rotate_key(old.info.id, keep_s=1.5)
        assert new.info.id != old.info.id
        assert (new.info.name, new.info.actions) == ("worker", ("read",))
        assert (new.info.collections, new.info.calls_per_s) == (("docs-1",), 100)
        with keyed.client(api_key=old.secret) as before, keyed.client(api_key=new.secret) as after:
            assert before.collection("docs-1").count() == after.collection("docs-1").count() == 1
            wait_until(lambda: is_refused(before), 10)
            assert after.collection("docs-1").count() == 1
        with pytest.raises(FailedPrecondition, match="ended"):
            root.rotate_key(old.info.id)


def is_refused(client: Client) -> bool:
    try:
        client.collection("docs-1").count()
    except Unauthenticated:
        return True
    return False


def test_a_key_expires(keyed: Keyed) -> None:
    with keyed.client() as root:
        made = root.create_key("guest", ["read"], ttl_s=1.0)
    with keyed.client(api_key=made.secret) as client:
        assert client.collection("docs-1").count() == 1
        wait_until(lambda: is_refused(client), 10)


def test_calls_a_second_are_counted_over_all_processes(keyed: Keyed) -> None:
    with keyed.client() as root:
        made = root.create_key("slow", ["read"], calls_per_s=20)
    passed: list[int] = []
    waits: list[float | None] = []
    clients = [keyed.client(api_key=made.secret) for _ in range(4)]
    began = time.monotonic()

    def call(client: Client) -> None:
        for _ in range(40):
            try:
                client.collection("docs-1").count()
                passed.append(1)
            except Overloaded as error:
                waits.append(error.retry_after_s)

    threads = [threading.Thread(target=call, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    most = 20 * (time.monotonic() - began + 1) + 1
    assert 20 <= len(passed) <= most
    assert None not in waits
    for client in clients:
        client.close()


def test_bytes_of_a_day(keyed: Keyed) -> None:
    with keyed.client() as root:
        made = root.create_key("small", ["write"], bytes_per_day=2_000)
        with keyed.client(api_key=made.secret) as client:
            docs = client.collection("docs-2")
            with pytest.raises(QuotaExceeded) as caught:
                list(map(docs.upsert, ([Point(f"q{n}", [1.0, 0.0])] for n in range(60))))
        assert caught.value.reason == "QUOTA_EXCEEDED"
        (shown,) = [one for one in root.list_keys() if one.id == made.info.id]
        assert 1_000 < shown.bytes_today <= 2_000


def test_the_last_key_that_makes_keys_stays(keyed: Keyed) -> None:
    with keyed.client() as root:
        admins = [one.id for one in root.list_keys() if "admin" in one.actions]
        assert len(admins) == 1
        with pytest.raises(FailedPrecondition, match="last"):
            root.revoke_key(admins[0])


def test_what_changes_or_is_refused_is_written_down(keyed: Keyed) -> None:
    with keyed.client() as root:
        made = root.create_key("audited", ["read", "write"], collections=["docs-1"])
    key = made.info.id
    with keyed.client(api_key=made.secret) as client:
        client.collection("docs-1").upsert([Point("audit", [1.0, 0.0])])
        client.collection("docs-1").delete(["audit"])
        client.collection("docs-1").count()
        with pytest.raises(PermissionDenied):
            client.collection("secret").count()
    (refused,) = keyed.audited(key=key, result="PERMISSION_DENIED")
    assert refused["method"] == "Points/Count"
    assert refused["collections"] == ["secret"]
    assert str(refused["peer"]).startswith("ipv4:127.0.0.1:")
    assert refused["request_id"]
    written = keyed.audited(key=key, result="OK")
    assert {one["method"] for one in written} <= {"Points/Write", "Points/WriteStream"}
    assert len(written) == 2
    assert all(str(one["peer"]).startswith("ipv4:127.0.0.1:") for one in written)
    assert keyed.audited(result="UNAUTHENTICATED", key="")


def test_a_caller_cannot_say_where_it_comes_from(keyed: Keyed) -> None:
    with keyed.client() as root:
        made = root.create_key("liar", ["read"], collections=["docs-1"])
    metadata = (
        ("authorization", f"Bearer {made.secret}"),
        ("vecdb-peer", "ipv4:10.9.8.7:1"),
        ("vecdb-request-id", "named-by-the-caller"),
    )
    with grpc.insecure_channel(keyed.address) as channel:
        for path in ("/vecdb.v1.Points/Count", "/vecdb.v1.Collections/Delete"):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(path)(b"\n\x06secret", metadata=metadata, timeout=30)
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
            trailers = dict(caught.value.trailing_metadata())
            assert trailers["vecdb-request-id"] == "named-by-the-caller"
    for line in keyed.audited(request_id="named-by-the-caller"):
        assert str(line["peer"]).startswith("ipv4:127.0.0.1:")
    assert len(keyed.audited(request_id="named-by-the-caller")) == 2


def http_status(keyed: Keyed, path: str, key: str = "") -> int:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(f"http://{keyed.metrics}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_metrics_take_a_key_and_probes_do_not(keyed: Keyed) -> None:
    with keyed.client() as root:
        scraper = root.create_key("prometheus", ["metrics"]).secret
        reader = root.create_key("reader", ["read"]).secret
    assert http_status(keyed, "/livez") == http_status(keyed, "/readyz") == 200
    assert http_status(keyed, "/metrics") == 401
    assert http_status(keyed, "/metrics", "vecdb_no_such") == 401
    assert http_status(keyed, "/metrics", reader) == 403
    assert http_status(keyed, "/metrics", scraper) == 200


def test_secrets_are_nowhere_but_with_their_holders(keyed: Keyed) -> None:
    """Not in logs, at the level of debug, nor metrics, audit lines, lists, errors or files."""
    with keyed.client() as root:
        made = root.create_key("hidden", ["read"])
        root.collection("docs-1").search([1.0, 0.0])
        told = [repr(made), repr(root.list_keys(with_revoked=True)), repr(root)]
    secrets = [keyed.root, made.secret, made.secret.rpartition("_")[2]]
    with keyed.client(api_key=made.secret) as client:
        with pytest.raises(PermissionDenied) as caught:
            client.collection("docs-1").upsert([Point("a", [1.0, 0.0])])
        told.append(repr(caught.value) + str(caught.value))
    request = urllib.request.Request(
        f"http://{keyed.metrics}/metrics", headers={"Authorization": f"Bearer {keyed.root}"}
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        told.append(reply.read().decode())
    told.append(keyed.log.read_text(errors="replace"))
    told.append(Path(str(keyed.settings["audit.file"])).read_text())
    for one in told:
        assert not [secret for secret in secrets if secret in one]
    for file in keyed.data.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not [secret for secret in secrets if secret.encode() in content], file


def test_an_audit_log_may_be_moved_away(keyed: Keyed) -> None:
    file = Path(str(keyed.settings["audit.file"]))
    moved = file.with_suffix(".1")
    file.rename(moved)
    try:

        def written() -> bool:
            with keyed.client() as root:
                root.collection("docs-2").upsert([Point("m", [1.0, 0.0])])
            return file.exists()

        wait_until(written, LOOK_S + 20)
        assert keyed.audited(method="Points/Write") or keyed.audited(method="Points/WriteStream")
    finally:
        file.write_text(moved.read_text() + file.read_text())
