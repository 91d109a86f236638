"""`vecdb demo`: right answers from real text, and nothing left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import alive, descendants, wait_until
from vecdb.cli.stdlib_docs import read_stdlib

# Four thousand entries prove nothing more, and take minutes to encode.
MODULES = ("argparse", "collections", "csv", "json", "pathlib", "random", "tempfile", "timeit")
RIGHT = {
    "how do I read a csv file": {"csv", "csv.DictReader", "csv.excel"},
    "find the most common elements of a list": {"collections.Counter.most_common"},
    "create a temporary file that is deleted when closed": {
        "tempfile.NamedTemporaryFile",
        "tempfile.TemporaryFile",
    },
    "pick a random element from a list": {"random.Random.choice"},
    "measure how long a piece of code takes": {"timeit", "timeit.Timer", "timeit.timeit"},
}


def test_standard_library_is_read_from_source() -> None:
    entries = {entry.name: entry for entry in read_stdlib()}
    assert len(entries) > 4000
    assert entries["csv"].kind == "module"
    assert entries["json.dumps"].kind == "function"
    assert entries["json.dumps"].signature.startswith("(obj, *, skipkeys=False")
    assert entries["collections.Counter"].kind == "class"
    assert all(entry.doc for entry in entries.values())
    assert not any(part.startswith("_") for name in entries for part in name.split("."))


@pytest.mark.timeout(600)
def test_demo_answers_and_stops(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the embed extra")
    answers_file = tmp_path / "answers.json"
    demo = subprocess.Popen(
        [
            *(sys.executable, "-m", "vecdb", "demo", "--json", str(answers_file)),
            *(f"--module={name}" for name in MODULES),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    assert demo.stdout is not None
    printed = line = ""
    # To the last line of the panel: what is buffered here when it stops is lost to communicate().
    while "the server is running" not in printed or "╰" not in line:
        line = demo.stdout.readline()
        assert line, printed
        printed += line
    children = descendants(demo.pid)
    assert len(children) >= 2, "a server and its embedding worker"
    # Ctrl-C in a terminal reaches every process of the demo's group.
    os.killpg(demo.pid, signal.SIGINT)
    rest = demo.communicate(timeout=60)[0]
    assert "Traceback" not in printed + rest
    assert "vecdb search -a" in printed + rest
    assert "/metrics" in printed + rest
    for child in children:
        wait_until(lambda child=child: not alive(child))
    assert not list(tmp_path.glob("vecdb-demo-*")), "the demo's data goes when it ends"
    answers = json.loads(answers_file.read_text())
    assert [answer["question"] for answer in answers] == list(RIGHT)
    right = [
        answer["question"] for answer in answers if RIGHT[answer["question"]] & set(answer["hits"])
    ]
    assert len(right) >= 4, answers
