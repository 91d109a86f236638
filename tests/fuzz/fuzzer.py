"""Calls of every kind with random and mutated messages, and what must hold of each answer.

A round walks through a conformance scenario on one of a few collections, which rounds share, and
after each step sends variants of it: changed as messages, changed as bytes, or made up. So what is
asked mostly makes sense where it is asked.
"""

from __future__ import annotations

import itertools
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from tests.fuzz.grammar import COLLECTIONS, Grammar
from tests.fuzz.mutation import changed
from tests.live import LiveServer
from tests.test_conformance import METHODS, SCENARIOS, Run

DEADLINE_S = 20.0
SLACK_S = 10.0
ENDLESS = {"Points/Watch", "Health/Watch"}
OURS_TO_BLAME = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
CALLERS_TO_BLAME = {("Admin/Restore", grpc.StatusCode.DATA_LOSS)}
"""What a caller sends may be a damaged backup, and is told so."""
ALL = METHODS | {
    f"{service.name}/{method.name}": method
    for file in (health_pb2, reflection_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
KEPT = "kept"
"""A collection that no message names: what it holds must stay as it is."""


@dataclass
class Findings:
    """What was sent, how it was answered, and what should not have been."""

    calls: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, name: str, code: str, took_s: float) -> None:
        with self.lock:
            self.calls[name] += 1
            self.codes[code] += 1
            self.slowest = max(self.slowest, (took_s, name))

    def blame(self, what: str) -> None:
        with self.lock:
            if len(self.violations) < 50:
                self.violations.append(what)
                print(what[:300], flush=True)


class Fuzzer:
    """One stream of rounds, from a seed."""

    def __init__(self, server: LiveServer, seed: str, findings: Findings) -> None:
        self.rng = random.Random(seed)
        self.grammar = Grammar(self.rng)
        self.server = server
        self.findings = findings
        self.channel = grpc.insecure_channel(
            server.address,
            options=[
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.max_receive_message_length", -1),
            ],
        )
        self.bodies: list[bytes] = []
        # Those that take rather than give come less often, and never all in a row.
        rare = {"Collections/Delete", "Collections/Truncate", "Collections/Create"}
        self.names = [name for name in ALL for _ in range(1 if name in rare else 4)]

    def close(self) -> None:
        self.channel.close()

    def round(self) -> None:
        """Walk through one scenario."""
        scenario = json.loads(self.rng.choice(SCENARIOS).read_text())
        collection = self.rng.choice(COLLECTIONS)
        filled = Run(self.channel, collection)
        if self.rng.random() < 0.5:
            delete = ALL["Collections/Delete"].input_type
            gone = GetMessageClass(delete)(name=collection, if_exists=True)
            self.send("Collections/Delete", [gone.SerializeToString()])
        if self.rng.random() < 0.1:
            self.sweep()
        for step in scenario["steps"]:
            sent = step["requests"] if "requests" in step else [step["request"]]
            kind = GetMessageClass(ALL[step["call"]].input_type)
            try:
                seeds = [json_format.ParseDict(filled._filled(each), kind()) for each in sent]
            except (json_format.ParseError, KeyError):  # of what a step before it would have saved
                continue
            if self.rng.random() < 0.8:
                self.send(step["call"], [each.SerializeToString() for each in seeds])
            for _ in range(self.rng.choice((1, 2, 4))):
                self.send(step["call"], [self.variant(seed) for seed in seeds])
            if self.rng.random() < 0.5:
                self.invent()
        if self.rng.random() < 0.2:
            self.garbage()

    def variant(self, seed: Message) -> bytes:
        """Return a message like another, changed."""
        body = seed.SerializeToString()
        self.bodies = [*self.bodies[-200:], body]
        if self.rng.random() < 0.3:
            return changed(self.rng, body, self.bodies)
        made = type(seed).FromString(body)
        for _ in range(self.rng.choice((1, 1, 2, 3))):
            self.grammar.mutate(made)
        return made.SerializeToString()

    def invent(self) -> None:
        """Send a message that is made up, now and then to a method that is not there."""
        name = self.rng.choice(self.names)
        kind = ALL[name].input_type
        count = self.rng.choice((0, 1, 2, 5)) if ALL[name].client_streaming else 1
        bodies = [self.grammar.message(kind).SerializeToString() for _ in range(count)]
        if bodies and self.rng.random() < 0.2:
            bodies[-1] = changed(self.rng, bodies[-1], self.bodies)
        path = self.rng.choice(
            ("/vecdb.v1.Points/No", "/no.Such/Call", "//", "/a", "/" + "x" * 500)
        )
        self.send(name, bodies, path if self.rng.random() < 0.02 else "")

    def sweep(self) -> None:
        """Delete the collections that mutated names made."""
        listed = self.send("Collections/List", [b""])
        for body in listed:
            for each in (
                GetMessageClass(ALL["Collections/List"].output_type).FromString(body).collections
            ):
                if each.name not in (KEPT, *COLLECTIONS):
                    kind = GetMessageClass(ALL["Collections/Delete"].input_type)
                    self.send("Collections/Delete", [kind(name=each.name).SerializeToString()])

    def send(self, name: str, bodies: list[bytes], path: str = "") -> list[bytes]:
        """Make a call; hold what is answered against what must be. Return the replies."""
        method = ALL[name]
        path = path or f"/{method.containing_service.full_name}/{method.name}"
        endless = name in ENDLESS or method.client_streaming
        timeout_s = DEADLINE_S
        if endless:
            timeout_s = 0.3
        elif self.rng.random() < 0.03:
            timeout_s = self.rng.choice((0.0, 0.001, 0.01))
        asked = "stream" if method.client_streaming else "unary"
        answered = "stream" if method.server_streaming else "unary"
        call = getattr(self.channel, f"{asked}_{answered}")(path)
        begun = time.monotonic()
        replies: list[bytes] = []
        code = grpc.StatusCode.OK
        try:
            request = iter(bodies) if method.client_streaming else bodies[0]
            answer = call(request, timeout=timeout_s, metadata=self.metadata())
            if method.server_streaming:
                replies += itertools.islice(answer, 50)
                answer.cancel()
            else:
                replies.append(answer)
        except grpc.RpcError as error:
            code = error.code()
            if code in OURS_TO_BLAME and (name, code) not in CALLERS_TO_BLAME:
                self.blame(f"{code.name} {error.details()}", path, bodies)
        took_s = time.monotonic() - begun
        self.findings.note(name, code.name, took_s)
        patient = timeout_s == DEADLINE_S
        if took_s > timeout_s + SLACK_S or (patient and code is grpc.StatusCode.DEADLINE_EXCEEDED):
            self.blame(f"{code.name} after {took_s:.1f} s", path, bodies)
        self.read(name, path, bodies, replies)
        return replies

    def read(self, name: str, path: str, bodies: list[bytes], replies: list[bytes]) -> None:
        """Read the replies: they must be what the call gives; tokens in them are kept."""
        kind: Any = GetMessageClass(ALL[name].output_type)
        for body in replies:
            try:
                token = getattr(kind.FromString(body), "next_page_token", "")
            except DecodeError:
                self.blame("a reply that does not parse", path, bodies)
                continue
            if token:
                self.grammar.tokens = [*self.grammar.tokens[-20:], token, token[:-1], "A" + token]

    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        rng = self.rng
        if rng.random() < 0.9:
            return ()
        return rng.choice(
            [
                (("authorization", "Bearer nope"),),
                (("authorization", "\x20" * 50),),
                (("traceparent", "00-zz-zz-01"),),
                (("vecdb-request-id", "x" * 3_000),),
                (("odd-bin", rng.randbytes(100)),),
                tuple((f"key-{n}", "v") for n in range(30)),
            ]
        )

    def blame(self, what: str, path: str, bodies: list[bytes]) -> None:
        self.findings.blame(f"{what}: {path} {[body[:2_000].hex() for body in bodies[:5]]}")

    def garbage(self) -> None:
        """Send bytes that are no call at all, to each port."""
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        for address in (self.server.address, self.server.metrics):
            host, _, port = address.rpartition(":")
            begin = self.rng.choice(
                (b"", preface, b"GET /metrics HTTP/1.1\r\n", b"GET " + b"a" * 9_000)
            )
            try:
                with socket.create_connection((host, int(port)), timeout=5) as connection:
                    connection.sendall(
                        begin + self.rng.randbytes(self.rng.choice((0, 9, 200, 9_000)))
                    )
            except OSError:
                pass  # it hung up first, as it should


def running(fuzzers: list[Fuzzer], until: float, calls_max: float) -> Iterator[None]:
    """Run fuzzers side by side until a time or so many calls; yield every second."""
    findings = fuzzers[0].findings
    over = threading.Event()

    def work(fuzzer: Fuzzer) -> None:
        while not over.is_set() and time.monotonic() < until:
            if findings.calls.total() >= calls_max:
                return
            fuzzer.round()

    threads = [threading.Thread(target=work, args=(fuzzer,)) for fuzzer in fuzzers]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(1)
                yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
