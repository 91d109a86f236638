"""A node of several processes: who they are, how they are kept running, in which order they end.

One writer, which is a whole server behind a private socket, and query workers, which share the
port; see node.py. This process holds the port, answers HTTP for all of them, and starts again
whoever ends or hangs. It does no work of its own, and so has little to die of.

All state belongs to the main thread, which takes one event after the other; other threads only put
events on its queue.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import queue
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.platform_collector import PlatformCollector

from vecdb import errors, stop
from vecdb.auth.authenticator import Authenticator
from vecdb.auth.door import Door
from vecdb.auth.keys import KeysOnDisk
from vecdb.auth.scopes import METRICS
from vecdb.child import Child
from vecdb.conditions import Condition, Conditions, ready_text
from vecdb.config import Config, settings
from vecdb.errors import InvalidArgument, Unavailable, VecdbError
from vecdb.line import Message
from vecdb.node_status import ProcessStatus
from vecdb.ops.condition_metric import ConditionMetric
from vecdb.ops.host import allow_files, certificates_of, check_exposure, write_addresses
from vecdb.ops.http import HttpPort
from vecdb.ops.process_metric import ProcessMetric
from vecdb.ops.totals import Totals
from vecdb.sockets import HeldPort, private_folder, split_address
from vecdb.template import Template

log = logging.getLogger(__name__)

WRITER = "writer"
SOCKET = "writer.sock"
ASK_S = 1.0
UNANSWERED_MAX = 10
"""Asked once a second, a process that does not answer for so many seconds hangs."""
START_S = 120.0
SCRAPE_S = 3.0
STOPPING_S = 0.05
STOP_SPARE_S = 10.0
WRITER_STOP_S = 120.0
"""Seconds past the drain that a worker, and the writer with its builder, may take to end."""


Asked = tuple[Child, int, int]
"""A child, which of its lives, and the number of the question that was put to it."""


class Supervisor:
    """A node of several processes. run() returns when it was told to stop, and has."""

    def __init__(self, config: Config, address_file: Path | None) -> None:
        """Take the ports. Raises VecdbError with what to do."""
        listen = config.server.listen
        if listen.startswith("unix:"):
            raise InvalidArgument(
                f"server.workers = {config.server.workers}: processes share a TCP port, "
                f"not {listen}",
                hint="listen on host:port, or have one worker",
            )
        host, port = split_address(listen)
        self._config = config
        # Looked at before any process starts; each has its own, this one is for /metrics.
        self._certificates = certificates_of(config.tls)
        self._address_file = address_file
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._stopping_since = 0.0
        self._writer_stops = False
        self._serving = False
        self._told: Message = {}
        self._begun = time.monotonic()
        self._embed_pid: int | None = None
        self._embeddings = ""
        self._scrapes: list[tuple[float, Future[None], list[Asked]]] = []
        self._asked_at = 0.0
        self._held = HeldPort(host, port)
        self._folder = private_folder("node", SOCKET)
        self.address = f"{listen.rpartition(':')[0]}:{self._held.port}"
        self._template = Template("vecdb.node")
        self._writer, self._workers = self._children()
        self._all = (self._writer, *self._workers)
        self._totals = Totals(self._fresh)
        self.conditions = Conditions()
        self.conditions.add(self._processes)
        self.conditions.add(lambda: list(self._writer.conditions))
        self._http: HttpPort | None = None
        self._keys = KeysOnDisk(Path(config.server.data))
        if config.server.metrics:
            registry = CollectorRegistry()
            registry.register(self._totals)
            registry.register(ProcessMetric(lambda: [one.status() for one in self._all]))
            registry.register(ConditionMetric(self.conditions.now))
            PlatformCollector(registry=registry)
            try:
                self._http = HttpPort(
                    config.server.metrics,
                    registry,
                    self.not_ready,
                    more=lambda: ready_text(self.conditions.now()),
                    certificates=self._certificates if config.tls.metrics else None,
                    door=Door(Authenticator(config.auth, self._keys), METRICS),
                )
            except BaseException:
                self._give_back()
                raise

    def _children(self) -> tuple[Child, tuple[Child, ...]]:
        private = f"unix:{self._folder / SOCKET}"

        def child(name: str, listen: str) -> Child:
            server = dataclasses.replace(self._config.server, listen=listen, metrics="")
            chosen = dataclasses.replace(self._config, server=server)
            return Child(
                name,
                {
                    "begin": name,
                    "settings": _plain(chosen),
                    "writer": private,
                    "folder": str(self._folder),
                },
                self._template,
            )

        count = self._config.server.workers
        workers = [child(f"worker {number + 1}", self.address) for number in range(count)]
        return child(WRITER, private), tuple(workers)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises VecdbError when the processes do not start."""
        stop.on_signals(self._events.put)
        try:
            if self._certificates:
                self._certificates.start()
            if self._http:
                self._http.start()
            for child in self._all:
                self._start(child)
            while not (self._stopping_since and self._all_ended()):
                self._take_event()
                self._look_round()
        finally:
            for child in self._all:
                child.kill()
            self._give_back()
        log.info("stopped")

    def not_ready(self) -> str:
        """Return why this node does not serve all it should, or ""."""
        if self._stopping_since:
            return "stopping"
        if not self._serving:
            return "starting"
        if not self._writer.ready:
            return "the writer is being started again: reads are served"
        if not any(worker.ready for worker in self._workers):
            return "no query worker answers"
        ailing = [f"{child.name}: {child.ailment}" for child in self._all if child.ailment]
        return "; ".join(ailing)

    def _processes(self) -> Iterator[Condition]:
        """Yield what is not well with the processes."""
        if not self._serving or self._stopping_since:
            return
        if not self._writer.ready:
            yield Condition(
                "writer",
                "error",
                f"it is being started again, and was {self._writer.lives} times before",
                "reads are served; if it does not come back, its log says why",
            )
        away = [worker.name for worker in self._workers if not worker.ready]
        if away:
            yield Condition(
                "workers",
                "error" if len(away) == len(self._workers) else "warning",
                f"being started again: {', '.join(away)}",
                "if they do not come back, the log says why",
            )

    # --- events

    def _take_event(self) -> None:
        try:
            event = self._events.get(timeout=self._idle_s())
        except queue.Empty:
            return
        if isinstance(event, int):
            self._begin_stopping(event)
        elif isinstance(event, Future):
            self._begin_scrape(event)
        else:
            child, life, message = event
            if life != child.lives:
                return
            if message is None:
                self._on_end(child)
            else:
                self._on_message(child, message)

    def _on_message(self, child: Child, message: Message) -> None:
        if "answer" in message:
            child.answered, child.unanswered = message["answer"], 0
            child.ailment = message.get("ailment", "")
            child.conditions = [Condition(**one) for one in message.get("conditions", ())]
            self._totals.tell(child.name, message.get("families", ()))
        elif "tell" in message:
            if child is self._writer:
                self._tell_workers(message["tell"])
            else:
                self._writer.say({"told": message["tell"]})
        elif "failed" in message:
            failed = message["failed"]
            kind = getattr(errors, failed["kind"], VecdbError)
            child.failure = kind(failed["message"], hint=failed["hint"])
        elif "ready" in message:
            self._on_ready(child, message)

    def _on_ready(self, child: Child, message: Message) -> None:
        child.ready = True
        if child is self._writer:
            self._embed_pid, self._embeddings = message["embed_pid"], message["embeddings"]
            self._tell_workers({"writer": True})
        if self._serving:
            self._tell_node()
            if child is self._writer:  # whose embedding worker, and free port, are others now
                self._write_addresses()
            return
        if not all(one.ready for one in self._all):
            return
        self._serving = True
        self._tell_node()
        log.info(
            "serving gRPC on %s by %d workers, metrics on %s, embeddings over HTTP on %s",
            self.address,
            len(self._workers),
            (self._http and self._http.address) or "none",
            self._embeddings or "none",
        )
        self._write_addresses()

    def _tell_node(self) -> None:
        """Tell all processes what only this one knows of the node; see ops.status.Node."""
        processes = [ProcessStatus("supervisor", os.getpid(), ready=True)]
        processes += [child.status() for child in self._all]
        node = {
            "begun": self._begun,
            "addresses": {
                "grpc": self.address,
                "metrics": self._http.address if self._http else "",
                "embeddings": self._embeddings,
            },
            "processes": [dataclasses.asdict(one) for one in processes],
            "conditions": [dataclasses.asdict(one) for one in self._processes()],
        }
        self._tell_workers({"node": node})
        self._writer.say({"told": {"node": node}})

    def _write_addresses(self) -> None:
        if self._address_file is not None:
            write_addresses(
                self._address_file,
                grpc=self.address,
                metrics=self._http.address if self._http else "",
                embeddings=self._embeddings,
                worker_pid=self._embed_pid,
            )

    def _on_end(self, child: Child) -> None:
        assert child.process is not None
        pid, how = child.process.pid, child.bury()
        self._totals.end(child.name)
        if self._stopping_since:
            return
        if not self._serving:
            raise child.failure or Unavailable(
                f"the {child.name} ended while it was starting: {how}", hint="its log says more"
            )
        if child is self._writer:
            self._tell_workers({"writer": False, "embed": None})
        self._tell_node()
        pause_s = child.back_off()
        log.error(
            "the %s (pid %d) ended by %s; it is started again in %g s",
            child.name,
            pid,
            how,
            pause_s,
        )

    def _tell_workers(self, news: Message) -> None:
        self._told.update(news)
        for worker in self._workers:
            worker.say({"told": news})

    # --- what time brings

    def _idle_s(self) -> float:
        """Return the seconds until there is something to look at."""
        now = time.monotonic()
        due = [self._asked_at + ASK_S]
        due += [child.again_at for child in self._all if child.process is None]
        return max(0.01, min(due) - now) if not self._stopping_since else STOPPING_S

    def _look_round(self) -> None:
        now = time.monotonic()
        self._end_scrapes(now)
        if self._stopping_since:
            self._go_on_stopping(now)
            return
        for child in self._all:
            if child.process is None and now >= child.again_at:
                self._start(child)
        if now - self._asked_at >= ASK_S:
            self._asked_at = now
            for child in self._all:
                self._check(child, now)

    def _start(self, child: Child) -> None:
        try:
            child.start(self._events)
        except OSError as error:
            pause_s = child.back_off()
            log.error("the %s cannot start: %s; tried again in %g s", child.name, error, pause_s)
            return
        if child is not self._writer and self._told:
            child.say({"told": self._told})

    def _check(self, child: Child, now: float) -> None:
        """Ask a process how it is, and end one that does not answer."""
        if child.process is None:
            return
        if not child.ready:  # it may still be loading its code, from a slow disk
            if now - child.began > START_S:
                log.error("the %s has not started in %g s: it is killed", child.name, START_S)
                child.kill()
            return
        if child.asked == child.answered:
            child.ask()
            return
        child.unanswered += 1
        if child.unanswered > UNANSWERED_MAX:
            log.error("the %s (pid %d) hangs: it is killed", child.name, child.process.pid)
            child.kill()

    # --- /metrics

    def _fresh(self) -> None:
        """Have the processes tell what they count now. Called by the HTTP port's threads."""
        done: Future[None] = Future()
        self._events.put(done)
        try:
            done.result(2 * SCRAPE_S)
        except TimeoutError:
            log.warning("the sums of /metrics are some seconds old")

    def _begin_scrape(self, done: Future[None]) -> None:
        asked: list[Asked] = []
        for child in self._all:
            if child.ready:
                child.ask(gauges=True)
                asked.append((child, child.lives, child.asked))
        self._scrapes.append((time.monotonic() + SCRAPE_S, done, asked))

    def _end_scrapes(self, now: float) -> None:
        going_on = []
        for scrape in self._scrapes:
            until, done, asked = scrape
            if now < until and any(
                child.ready and child.lives == life and child.answered < number
                for child, life, number in asked
            ):
                going_on.append(scrape)
            else:
                done.set_result(None)
        self._scrapes = going_on

    # --- the end

    def _begin_stopping(self, number: int) -> None:
        if not self._stopping_since:
            log.info("asked to stop by %s", signal.Signals(number).name)
            self._stopping_since = time.monotonic()
            for worker in self._workers:
                worker.say({"stop": True})

    def _go_on_stopping(self, now: float) -> None:
        """Have the writer end after the workers, whose calls under way need it."""
        left = [worker for worker in self._workers if worker.process is not None]
        until = self._stopping_since + self._config.server.drain_s + STOP_SPARE_S
        if left and now > until:
            log.warning("not stopped in time, killed: %s", ", ".join(one.name for one in left))
            for worker in left:
                worker.kill()
        if not left and not self._writer_stops:
            self._writer_stops = True
            self._writer.say({"stop": True})
        if now > until + self._config.server.drain_s + WRITER_STOP_S:
            self._writer.kill()

    def _all_ended(self) -> bool:
        return all(child.process is None for child in self._all)

    def _give_back(self) -> None:
        if self._http:
            self._http.stop()
        if self._certificates:
            self._certificates.stop()
        self._template.close()
        self._keys.close()
        self._held.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _plain(config: Config) -> Message:
    """Return the settings as config.load takes them."""
    found: Message = {}
    for name in settings():
        section, _, key = name.partition(".")
        found[name] = getattr(getattr(config, section), key)
    return found


def supervise(config: Config, address_file: Path | None = None) -> None:
    """Serve by several processes until SIGTERM or SIGINT; return when stopped."""
    check_exposure(config)
    allow_files()
    Supervisor(config, address_file).run()
