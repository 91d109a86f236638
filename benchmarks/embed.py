"""Texts to vectors through a server, beside plain onnxruntime in a loop and libraries that do it.

    python benchmarks/embed.py [--smoke] [--json FILE] [--points N] [--rounds R] [--folder DIR]
                               [--device openvino] [--precision bfloat16] [--no-peers]

All take turns, round by round. benchmarks/README.md says what each figure means.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from echo import echo_server, request_of
from embed_load import Crew, crew
from live import serve
from options import parser as options_parser
from report import Report, measured
from timing import median, percentile_ms, timed
from vecdb.config import EmbedConfig
from vecdb.embed import catalog
from vecdb.embed.encoder import Encoder, Execution, Role

LENGTHS = (16, 128)
CLIENTS = 64
PROCESSES = 2
PER_CALL = 16
INGEST_BATCH = 256
BATCHES = (4, 8, 16, 32, 64, 128)
BY = 32
"""Texts of a batch where devices are compared."""
SERVICE = "vecdb.v1.Models"
THROUGHPUT = 0.9
OVER_BARE_MS = 3.0
UNDER_INGEST = 3.0
WARM = 8


@dataclass(frozen=True, slots=True)
class Setting:
    """What every part needs. texts: by their tokens. sizes: texts of a burst, by their tokens."""

    report: Report
    crew: Crew
    bare: Callable[[list[str], int], object]
    peers: dict[str, Callable[[list[str]], object]]
    texts: dict[int, list[str]]
    sizes: dict[int, int]
    singles: int
    rounds: int

    def take(self, tokens: int, count: int) -> list[str]:
        """Return texts that were not taken before."""
        if len(self.texts[tokens]) < count:
            raise ValueError(f"there is not enough prose for {count} more texts of {tokens} tokens")
        taken = self.texts[tokens][:count]
        del self.texts[tokens][:count]
        return taken


def main() -> int:
    """Run and return the exit status."""
    options = _parse()
    spec = catalog.find(catalog.load_catalog().values(), EmbedConfig().model)
    if reason := catalog.missing(spec):
        print(f"nothing to measure: {reason}", file=sys.stderr)
        return 1
    threads = options.threads or len(os.sched_getaffinity(0))
    with measured("embed", options) as (report, root):
        _facts(report, spec, options, threads)
        settings = {
            "embed.device": options.device,
            "embed.precision": options.precision,
            "embed.threads": threads,
        }
        with (
            serve(root / "server", embed=True, settings=settings) as live,
            live.client(timeout_s=300) as client,
        ):
            client.wait_ready(120, service=SERVICE)
            client.create_collection("ingest", model=spec.name)
            with crew(live.address, PROCESSES, CLIENTS // PROCESSES) as clients:
                setting = _setting(report, clients, spec, options, threads, root)
                for tokens in LENGTHS:
                    _measure(setting, tokens)
                _cached(setting)
                _under_ingest(setting, options)
        if options.device != "cpu":
            _devices(setting, spec, options, threads)
    return 0


def _facts(
    report: Report, spec: catalog.ModelSpec, options: argparse.Namespace, threads: int
) -> None:
    report.fact("model", spec.name)
    report.fact("dim", spec.dim)
    report.fact("device", options.device)
    report.fact("precision", options.precision)
    report.fact("threads", threads)
    report.fact("rounds", options.rounds)
    report.fact("clients", f"1, or {CLIENTS} threads in {PROCESSES} processes")
    report.fact("index", "none: vectors are answered, not stored")


def _setting(
    report: Report,
    clients: Crew,
    spec: catalog.ModelSpec,
    options: argparse.Namespace,
    threads: int,
    root: Path,
) -> Setting:
    # Here and not above: these need not be installed.
    from embed_peers import WAYS, Bare, peers
    from embed_texts import cut, prose

    files = catalog.resolve_files(spec)
    sizes = {16: options.points, 128: max(8, options.points // 6)}
    singles = min(100, options.points)
    batches = BATCHES[:1] if options.smoke else BATCHES
    source = prose(smoke=options.smoke)
    needed = {n: (2 * sizes[n] + singles) * options.rounds + 4 * sizes[n] for n in LENGTHS}
    needed[16] += options.rounds * 6 * singles + WARM
    texts = {n: cut(source, files["tokenizer"], n, needed[n] + WARM) for n in LENGTHS}
    report.fact("data_set", source.name)
    report.fact("n", sum(map(len, texts.values())))
    there, absent = ({}, {}) if options.no_peers else peers(root / "peers", files["model"], threads)
    for name, why in absent.items():
        report.fact(f"{name}_absent", why)
        report.say(f"{name} is absent: {why}")
    report.say("which way is plain onnxruntime fastest?")
    ways = {name: Bare(files["model"], files["tokenizer"], threads, name) for name in WAYS}
    speeds = {
        (name, tokens, batch): _speed(lambda some: bare.encode(some, batch), tried)  # noqa: B023
        for tokens in LENGTHS
        for tried in [texts[tokens][: min(sizes[tokens], 128)]]
        for batch in batches
        for name, bare in ways.items()
    }
    best: dict[int, tuple[str, int]] = {}
    for tokens in LENGTHS:
        tried_ways = {way: speed for way, speed in speeds.items() if way[1] == tokens}
        name, _, batch = max(tried_ways, key=tried_ways.__getitem__)
        best[tokens] = name, batch
        report.fact(f"bare_{tokens}", f"batches of {batch}, {name}")

    def bare(some: list[str], tokens: int) -> object:
        name, batch = best[tokens]
        return ways[name].encode(some, min(batch, len(some)))

    return Setting(report, clients, bare, there, texts, sizes, singles, options.rounds)


def _speed(encode: Callable[[list[str]], object], texts: list[str]) -> float:
    (took,) = timed(lambda _: encode(texts), 1)
    return len(texts) / took


def _measure(setting: Setting, tokens: int) -> None:
    """Have everything encode texts of one length, in turn."""
    report = setting.report
    report.say(f"texts of {tokens} tokens, {setting.sizes[tokens]} at a time")
    speeds: dict[str, list[float]] = {}
    ours: list[float] = []
    alone: list[float] = []
    for encode in (lambda some: setting.bare(some, tokens), *setting.peers.values()):
        encode(setting.texts[tokens][:WARM])
    setting.crew.embed(setting.take(tokens, WARM), clients=1, per_call=1, role="query")
    for _ in range(setting.rounds):
        first, second = (setting.take(tokens, setting.sizes[tokens]) for _ in range(2))
        served = setting.crew.embed(first, clients=CLIENTS, per_call=1, role="document")
        many = setting.crew.embed(second, clients=CLIENTS, per_call=PER_CALL, role="document")
        singles = setting.take(tokens, setting.singles)
        one = setting.crew.embed(singles, clients=1, per_call=1, role="query")
        found = {
            "clients_64": served.texts_per_s,
            f"clients_64_by_{PER_CALL}": many.texts_per_s,
            "client_1": one.texts_per_s,
            "bare": _speed(lambda some: setting.bare(some, tokens), first),
        }
        found |= {name: _speed(encode, first) for name, encode in setting.peers.items()}
        for name, speed in found.items():
            speeds.setdefault(name, []).append(speed)
        ours.append(median(one.latencies_s))
        alone.append(
            median(timed(lambda at: setting.bare([singles[at]], tokens), len(singles)))  # noqa: B023
        )
    _throughput(report, speeds, tokens)
    report.figure(f"single_{tokens}_p50_ms", median(ours) * 1e3, "ms", "one text a call, 1 client")
    report.figure(f"bare_single_{tokens}_p50_ms", median(alone) * 1e3, "ms", "plain, one text")
    over = [a - b for a, b in zip(ours, alone, strict=True)]
    report.figure(
        f"single_{tokens}_over_bare_ms",
        median(over) * 1e3,
        "ms",
        "one over the other, median of the rounds",
        at_most=OVER_BARE_MS if tokens == min(LENGTHS) else None,
    )
    if tokens == min(LENGTHS):
        _idle_hops(setting, median(alone))


def _idle_hops(setting: Setting, pause_s: float) -> None:
    """Call a bare grpcio server that had nothing to do for as long as an inference takes."""
    request = request_of(80, 1_600)
    with echo_server(16) as echo:

        def call(_: int) -> float:
            time.sleep(pause_s)
            (took,) = timed(lambda _: echo(request), 1)
            return took

        calls = [call(at) for at in range(setting.singles)]
    setting.report.figure(
        "two_idle_hops_ms",
        2 * median(calls) * 1e3,
        "ms",
        "two calls of a bare grpcio server, each after as long a pause: there are two on the way",
    )


def _throughput(report: Report, speeds: dict[str, list[float]], tokens: int) -> None:
    meanings = {
        "clients_64": f"{CLIENTS} clients, one text a call",
        f"clients_64_by_{PER_CALL}": f"{CLIENTS} clients, {PER_CALL} texts a call",
        "client_1": "1 client, one text a call",
        "bare": "plain onnxruntime in a loop, its best batch",
    }
    bare = speeds["bare"]
    for name, values in speeds.items():
        meaning = meanings.get(name, f"{name} on the same weights")
        report.figure(f"{name}_{tokens}_texts_per_s", median(values), "/s", meaning)
        report.figure(f"{name}_{tokens}_tokens_per_s", median(values) * tokens, "/s", "its tokens")
    for name in ("clients_64", f"clients_64_by_{PER_CALL}", "client_1"):
        report.figure(
            f"{name}_{tokens}_vs_bare",
            _ratio(speeds[name], bare),
            "",
            f"{meanings[name]}, over plain, median of the rounds",
            at_least=THROUGHPUT if name != "client_1" else None,
        )
    for name in speeds.keys() - meanings.keys():
        report.figure(
            f"vs_{name}_{tokens}",
            _ratio(speeds[f"clients_64_by_{PER_CALL}"], speeds[name]),
            "",
            f"{CLIENTS} clients, {PER_CALL} texts a call, over {name}",
        )


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return median([a / b for a, b in zip(ours, theirs, strict=True)])


def _cached(setting: Setting) -> None:
    """Ask twice for the same texts."""
    size = setting.sizes[16]
    texts = setting.take(16, size)
    first = setting.crew.embed(texts, clients=CLIENTS, per_call=PER_CALL, role="document")
    again = setting.crew.embed(texts, clients=CLIENTS, per_call=PER_CALL, role="document")
    report = setting.report
    report.figure("cached_16_texts_per_s", again.texts_per_s, "/s", "texts encoded lately")
    report.figure(
        "cached_16_vs_first", again.texts_per_s / first.texts_per_s, "", "over their first time"
    )


def _under_ingest(setting: Setting, options: argparse.Namespace) -> None:
    """Ask short queries one by one, alone and while documents are stored, in turn."""
    report = setting.report
    count = 3 * setting.singles
    for tokens in LENGTHS:
        report.say(f"short queries while texts of {tokens} tokens are stored")
        documents = setting.texts[tokens][-2 * setting.sizes[tokens] :]
        quiet: list[float] = []
        busy: list[float] = []
        ratios: list[float] = []
        stored = seconds = 0.0
        for _ in range(setting.rounds):
            queries = setting.take(16, count)
            asked = queries[: count // 2], queries[count // 2 :]
            one = setting.crew.embed(asked[0], clients=1, per_call=1, role="query")
            with setting.crew.ingest(documents, 16 if options.smoke else INGEST_BATCH) as told:
                time.sleep(0.5 if options.smoke else 2.0)  # until documents wait
                two = setting.crew.embed(asked[1], clients=1, per_call=1, role="query")
            quiet += one.latencies_s
            busy += two.latencies_s
            ratios.append(percentile_ms(two.latencies_s, 99) / percentile_ms(one.latencies_s, 99))
            stored += told["texts"]
            seconds += told["seconds"]
        report.times(f"query_quiet_{tokens}", quiet, "a short query alone")
        report.times(f"query_ingest_{tokens}", busy, f"while texts of {tokens} tokens are stored")
        report.figure(
            f"query_p99_{tokens}_vs_quiet",
            percentile_ms(busy, 99) / percentile_ms(quiet, 99),
            "",
            "p99 of all rounds, one over the other",
            at_most=UNDER_INGEST,
        )
        report.figure(
            f"query_p99_{tokens}_vs_quiet_rounds", median(ratios), "", "the same, round by round"
        )
        report.figure(
            f"ingest_{tokens}_texts_per_s", stored / seconds, "/s", "texts stored meanwhile"
        )


def _devices(
    setting: Setting, spec: catalog.ModelSpec, options: argparse.Namespace, threads: int
) -> None:
    """Encode in this process on the device and on ONNX Runtime's CPU, in turn."""
    from vecdb.embed.residents import load_model

    report = setting.report
    report.say(f"{options.device} in {options.precision} beside onnxruntime, in this process")
    device = load_model(spec, Execution(threads, options.device, options.precision))
    cpu = load_model(spec, Execution(threads))
    for tokens in LENGTHS:
        texts = setting.texts[tokens][-setting.sizes[tokens] :]
        ratios = []
        for _ in range(setting.rounds):
            ours, theirs = (_speed(partial(_by, model), texts) for model in (device, cpu))
            ratios.append(ours / theirs)
        report.figure(
            f"{options.device}_{tokens}_vs_onnxruntime",
            median(ratios),
            "",
            f"{options.precision}, batches of {BY}, over float32 of ONNX Runtime",
        )


def _by(model: Encoder, texts: list[str]) -> None:
    for start in range(0, len(texts), BY):
        read = model.prepare(texts[start : start + BY], Role.DOCUMENT)
        model.encode([one.input for one in read])


def _parse() -> argparse.Namespace:
    parser = options_parser(__doc__, "texts of 16 tokens at a time", "all in turn")
    parser.add_argument("--device", default="cpu", help="embed.device of the server (cpu)")
    parser.add_argument("--precision", default="float32", help="embed.precision (float32)")
    parser.add_argument("--threads", type=int, default=0, help="of inference; 0 for all cores")
    parser.add_argument("--no-peers", action="store_true", help="leave the other libraries out")
    options = parser.parse_args()
    options.points = options.points or (16 if options.smoke else 1024)
    options.rounds = options.rounds or (1 if options.smoke else 5)
    return options


if __name__ == "__main__":
    sys.exit(main())
