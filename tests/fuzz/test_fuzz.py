"""A short run of the fuzzer: of the same messages every time, but for what answers give."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.fuzz.fuzzer import Findings, Fuzzer, running
from tests.fuzz.node import complaints, fuzzed, kept, processes_of

SECONDS = 8
CALLS = 2_500


@pytest.mark.parametrize("workers", [1, 2])
def test_random_and_mutated_messages(tmp_path: Path, workers: int) -> None:
    with fuzzed(tmp_path, workers, embed=False) as server, server.client() as client:
        before, processes = kept(client), processes_of(server)
        findings = Findings()
        fuzzers = [Fuzzer(server, f"7-{n}", findings) for n in range(2)]
        for _ in running(fuzzers, time.monotonic() + SECONDS, CALLS):
            pass
        for fuzzer in fuzzers:
            fuzzer.close()
        assert findings.calls.total() > 100
        assert findings.violations == []
        assert complaints(server) == []
        assert processes <= processes_of(server)
        assert client.health() == "SERVING"
        assert kept(client) == before
