"""A move to another model in several processes, and through whatever ends them."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from tests.live import START_S, LiveServer, embedding_workers, wait_until
from tests.rpc.moves import FEW, WORDS, check, fill, nearest, write_catalog
from tests.rpc.nodes import WORKERS, connections
from vecdb.ops.check import check_database
from vecdb.rpc.pb import search_pb2, search_pb2_grpc
from vecdb_client import NO_RETRIES, Collection, VecdbError

pytestmark = pytest.mark.takes_turns


def test_every_process_switches_at_once(tmp_path: Path) -> None:
    settings = {
        "embed.catalog": write_catalog(tmp_path),
        "embed.model": WORDS,
        "embed.models": FEW,
        "server.workers": WORKERS,
    }
    server = LiveServer(tmp_path / "data", settings).start()
    with server.client() as client, connections(server) as channels:
        client.wait_ready(START_S, service="vecdb.v1.Models")
        made = client.create_collection("c", model=WORDS)
        texts = fill(made, 30)
        made.reembed(FEW, wait=True)
        best = {model: nearest(client, model, texts, "cat tea") for model in (WORDS, FEW)}
        stubs = [search_pb2_grpc.SearchStub(channel) for channel in channels.values()]
        assert len(stubs) == WORKERS
        for _ in range(3):
            for step, model in (("switch", FEW), ("roll_back", WORDS)):
                made.reembed(step=step)  # type: ignore[arg-type]
                for stub in stubs:
                    query = search_pb2.QueryRequest(collection="c", k=5)
                    query.legs.add().near.vector.text = "cat tea"
                    hits = stub.Query(query, timeout=30).hits
                    assert hits[0].score == pytest.approx(best[model], abs=1e-5)
    assert server.stop() == 0


def test_it_goes_on_after_kill(tmp_path: Path) -> None:
    settings = {
        "embed.catalog": write_catalog(tmp_path),
        "embed.model": WORDS,
        "embed.models": FEW,
    }
    server = LiveServer(tmp_path / "data", settings).start()
    with server.client() as db:
        db.wait_ready(START_S, service="vecdb.v1.Models")
        made = db.create_collection("c", model=WORDS)
        texts = fill(made, 4_000)
        assert made.reembed(FEW, switch=True).state == "filling"
        filled(made, 1)
    killed_and_started(server)
    with server.client() as db:
        made = db.collection("c")
        filled(made, 1_000)
        for pid in embedding_workers(server):
            os.kill(pid, signal.SIGKILL)
        changed = {"p0": "the sun", "new": "the red road"}
        made.upsert([{"id": name, "text": text} for name, text in changed.items()])
        texts = {name: texts[name] for name in texts.keys() - changed} | changed
        filled(made, len(texts))  # and about to switch
    killed_and_started(server)
    with server.client() as db:
        made = db.collection("c")
        assert made.reembed(wait=True).state == "switched"
        check(db, made, FEW, texts)
        undo = threading.Thread(target=quietly, args=(server, "roll_back"))
        undo.start()
    killed_and_started(server)
    undo.join()
    with server.client() as db:
        made = db.collection("c")
        db.wait_ready(START_S, service="vecdb.v1.Models")
        now = made.reembed(wait=True)
        assert (now.state, now.model) in (("switched", FEW), ("ready", WORDS))
        assert made.search("the red road", k=1)[0].score > 0.999
        check(db, made, now.model, texts)
        assert made.reembed(step="switch").state == "switched"
        assert made.reembed(step="finish").state == "none"
        check(db, made, FEW, texts)
    assert server.stop() == 0
    assert all(not report.findings for report in check_database(server.data, lambda *_: None))


def filled(made: Collection, count: int) -> None:
    """Return once so many points have both vectors, or the move is over."""
    wait_until(lambda: (now := made.reembed()).done >= count or now.state == "switched", 60)


def killed_and_started(server: LiveServer) -> None:
    server.kill()
    server.start()


def quietly(server: LiveServer, step: str) -> None:
    """Ask for a step of a server that may end meanwhile."""
    try:
        with server.client(retries=NO_RETRIES) as db:
            db.collection("c").reembed(step=step)  # type: ignore[arg-type]
    except VecdbError:
        pass  # that is what it is about
