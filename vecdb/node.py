"""One process of a node that has several: the writer, or a query worker. See supervisor.py.

The writer is a whole server behind a private socket. A query worker answers reads from maps of its
own and passes the rest on. Both end when their supervisor says so, or is gone.

    python -m vecdb.node    with the line to the supervisor as standard input
"""

from __future__ import annotations

import logging
import os
import queue
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vecdb import heap, line, logs
from vecdb.auth.call import request_id
from vecdb.config import Config, load
from vecdb.database import Database
from vecdb.embed.channel import RESTART_S, RESTARTING, WorkerState
from vecdb.embed.client import Encoders
from vecdb.errors import VecdbError
from vecdb.line import Line, Message
from vecdb.metrics import Metrics
from vecdb.node_status import NodeStatus
from vecdb.ops.conditions import data_conditions
from vecdb.ops.host import certificates_of
from vecdb.ops.status import Node, embedding_status, status_of
from vecdb.room import room_of
from vecdb.rpc.forward import Forwarder
from vecdb.rpc.guard import guard_of
from vecdb.rpc.server import RpcServer
from vecdb.server import Server

log = logging.getLogger(__name__)

UPKEEP_S = 1.0
TELL_AGAIN_S = 30.0
"""Seconds after which the writer is told again what is read: it may have been started since."""

Report = Callable[[bool], Message]
"""Returns what a process counts ("families") and what ails it; True for its gauges too."""


class Post:
    """The line to the supervisor: answers what it asks, keeps what it tells, hears it say stop."""

    def __init__(
        self, end: Line, messages: Iterator[Message], on_end: Callable[[], object]
    ) -> None:
        """Begin to listen. on_end: called when the supervisor is gone, before this process ends."""
        self._line = end
        self._messages = messages
        self._on_end = on_end
        self._report: Report = lambda gauges: {}
        self._take: Callable[[Message], object] = lambda told: None
        self._changed = threading.Condition()  # guards the two below
        self._told: Message = {}
        self._stop = False
        threading.Thread(target=self._listen, name="vecdb-post", daemon=True).start()

    def send(self, message: Message) -> None:
        """Send a message; one that cannot be sent finds the supervisor gone."""
        self._line.send(message)

    def attach(self, report: Report, take: Callable[[Message], object]) -> None:
        """Name what reports, and what takes everything told so far, now and at each change."""
        with self._changed:
            self._report, self._take = report, take
            take(self._told)

    def wait_told(self, name: str) -> bool:
        """Return once something was told, or False when this process is to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._stop or name in self._told)
            return not self._stop

    def wait_stop(self) -> None:
        """Return when this process is to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._stop)

    def _listen(self) -> None:
        for message in self._messages:
            try:
                self._hear(message)
            except Exception:
                log.exception("a message of the supervisor was not understood")
        self._on_end()
        os._exit(1)  # killed: nobody waits for what is under way, and another will want the port

    def _reported(self, gauges: bool) -> Message:
        """Return the report. One that fails is an answer too: who gives none is taken to hang."""
        try:
            return self._report(gauges)
        except Exception as error:
            log.exception("what is counted here cannot be told")
            return {"ailment": f"what is counted cannot be told: {error}"}

    def _hear(self, message: Message) -> None:
        if "ask" in message:
            self.send({"answer": message["ask"], **self._reported(message["gauges"])})
        with self._changed:
            if "told" in message:
                self._told.update(message["told"])
                self._take(self._told)
            self._stop |= "stop" in message
            self._changed.notify_all()


class EmbeddingElsewhere:
    """The writer's embedding worker, as a query worker knows it: an embed.client.Worker."""

    def __init__(self) -> None:
        self.address = ""
        self.state = WorkerState(reason=RESTARTING, retry_after_s=RESTART_S)
        self._seen: object = None
        self._generation = 0

    def take(self, told: dict[str, Any] | None) -> None:
        """Take what the writer says of it; None while the writer is away."""
        if told is None:
            self.state = WorkerState(reason=RESTARTING, retry_after_s=RESTART_S)
            return
        # A writer that was started again counts its workers from one: count them here.
        seen = told["address"], told["state"]["generation"]
        if seen != self._seen:
            self._seen = seen
            self._generation += 1
        self.address = told["address"]
        self.state = WorkerState(**{**told["state"], "generation": self._generation})


class QueryWorker:
    """Answers reads on the shared port, from start() to stop()."""

    def __init__(self, config: Config, writer: str, tell: Callable[[Message], object]) -> None:
        """Open the data directory to read. writer: its address. tell: takes news for it."""
        self._config = config
        self._tell = tell
        self._stopping = threading.Event()
        self.metrics = Metrics()
        self._node = Node()
        self.database = Database(
            Path(config.server.data),
            config.storage,
            config.limits,
            read_only=True,
            judged=self.metrics.recall.observe,
            room=room_of(Path(config.server.data), config.storage, config.limits, self._node.pids),
        )
        self._embedding = EmbeddingElsewhere()
        self._encoders = Encoders(
            config.embed,
            self._embedding,
            text_bytes=config.limits.text_bytes,
            image_bytes=config.limits.image_bytes,
        )
        self._forwarder = Forwarder(writer)
        self._certificates = certificates_of(config.tls)
        self._rpc = RpcServer(
            config,
            self.database,
            self._encoders,
            self.metrics,
            guard_of(config, self.database.keys),
            forwarder=self._forwarder,
            certificates=self._certificates,
            status=self._status,
        )

    def start(self) -> None:
        """Serve."""
        if self._certificates:
            self._certificates.start()
        self._rpc.start()
        self._rpc.set_health("search", serving=True)
        threading.Thread(target=self._keep_up, name="vecdb-upkeep", daemon=True).start()

    def stop(self) -> None:
        """Drain: refuse new calls, finish those under way."""
        self._stopping.set()
        self._rpc.stop(self._config.server.drain_s)
        self._encoders.close()
        self._forwarder.close()
        self.database.close()
        if self._certificates:
            self._certificates.stop()

    def take(self, told: Message) -> None:
        """Take how the writer and its embedding worker are."""
        if self._stopping.is_set():
            return
        self._embedding.take(told.get("embed"))
        self._rpc.set_health("data", serving=told.get("writer", False))
        self._rpc.set_health("models", serving=self._embedding.state.ready)
        self._node.take(told.get("node"))

    def _status(self) -> NodeStatus:
        """Return how the node is, as far as it is known without the writer."""
        enabled = self._config.embed.enabled or bool(self._config.embed.worker)
        state = self._embedding.state
        return status_of(
            self._node,
            self._config,
            self.database,
            data_conditions(self.database),
            embedding_status(state, enabled=enabled, restarts=0),
        )

    def report(self, gauges: bool) -> Message:
        """Return what was counted; the gauges of the data are the writer's."""
        return {"families": self.metrics.families(gauges=False), "ailment": ""}

    def _keep_up(self) -> None:
        """Let go of what was deleted or replaced, and tell the writer what is read here."""
        last: Message = {}
        at = 0.0
        while not self._stopping.wait(UPKEEP_S):
            try:
                self.database.let_go()
                self.database.room.relieve()
                used = self.database.in_use()
                if used and (used != last or time.monotonic() - at > TELL_AGAIN_S):
                    self._tell({"used": used})
                    last, at = used, time.monotonic()
            except Exception:
                log.exception("upkeep failed; it goes on")


class Attendance:
    """The writer's part in what is read elsewhere: it is open here, and so looked after.

    A segment that a worker cannot use is read through here, and built again if it is damaged.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._used: queue.SimpleQueue[dict[str, list[int]]] = queue.SimpleQueue()
        threading.Thread(target=self._attend, name="vecdb-attend", daemon=True).start()

    def take(self, told: Message) -> None:
        """Take what a worker reads: names of collections, with the segments it cannot use."""
        self._used.put(told.get("used", {}))

    def _attend(self) -> None:
        while True:
            for name, numbers in self._used.get().items():
                try:
                    with self._database.collection(name) as collection:
                        for number in numbers:
                            collection.suspect(number)
                except VecdbError as error:
                    log.info("%s, which is read by another process: %s", name, error)
                except Exception:
                    log.exception("%s, which is read by another process", name)


def _run_writer(post: Post, config: Config) -> None:
    def on_embed(state: WorkerState) -> None:
        address = server.worker.address if state.ready else ""
        post.send({"tell": {"embed": {"address": address, "state": asdict(state)}}})

    def report(gauges: bool) -> Message:
        return {
            "families": server.metrics.families(gauges=gauges),
            "ailment": server.not_ready(),
            "conditions": [asdict(one) for one in server.conditions.now()],
        }

    server = Server(config, counted=False, on_embed=on_embed)
    attendance = Attendance(server.database)

    def take(told: Message) -> None:
        attendance.take(told)
        server.node.take(told.get("node"))

    post.attach(report, take)
    server.start()
    post.send(
        {"ready": True, "embed_pid": server.worker.pid, "embeddings": server.embeddings_address}
    )
    post.wait_stop()
    server.stop()


def _run_query_worker(post: Post, config: Config, writer: str) -> None:
    if not post.wait_told("writer"):  # which makes the data directory, or mends it
        return
    worker = QueryWorker(config, writer, lambda news: post.send({"tell": news}))
    post.attach(worker.report, worker.take)
    worker.start()
    post.send({"ready": True})
    post.wait_stop()
    worker.stop()


def main() -> int:
    """Be the process that the supervisor's first message describes."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # A terminal and some inits signal every process; in which order to end is the
        # supervisor's to say. Not SIG_IGN, which children would inherit.
        signal.signal(number, lambda caught, _: None)
    heap.use_one_heap()
    end = line.inherited()
    messages = end.receive()
    begin = next(messages, None)
    if begin is None:
        return 1
    name, folder = begin["begin"], Path(begin["folder"])
    config = load(None, {}, begin["settings"])
    logs.start(config.server.log_level, config.log.format, name, request_id)
    post = Post(end, messages, on_end=lambda: shutil.rmtree(folder, ignore_errors=True))
    try:
        if name == "writer":
            _run_writer(post, config)
        else:
            _run_query_worker(post, config, begin["writer"])
    except VecdbError as error:
        kind = type(error).__name__
        post.send({"failed": {"kind": kind, "message": error.message, "hint": error.hint}})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
