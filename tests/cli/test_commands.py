"""The command line against a real server: what it prints, and with which status it ends.

What has a table of cases runs in this process, by the same `main`; the rest as people start it.
"""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.live import LiveServer, run_vecdb
from vecdb import __version__
from vecdb.cli import main
from vecdb_client import Client, SparseSpace, TextField

Ended = subprocess.CompletedProcess
Run = Callable[..., Ended]


def vecdb(*words: str, address: str = "", given: str | None = None) -> Ended:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("VECDB_")}
    if address:
        environ["VECDB_ADDRESS"] = address
    return run_vecdb(*words, given=given or "", environment=environ)


@pytest.fixture
def run(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Return a function that runs a command against the server, in this process."""
    monkeypatch.setenv("VECDB_ADDRESS", server.address)

    def call(*words: str, given: str = "") -> Ended:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["vecdb", *words])
        monkeypatch.setattr("sys.stdin", io.StringIO(given))
        with pytest.raises(SystemExit) as ended:
            main()
        status = ended.value.code or 0
        assert isinstance(status, int)
        return Ended(words, status, *capsys.readouterr())

    return call


def failed(ended: Ended, *words: str) -> None:
    """Exit status 1, and a message that says why."""
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    said = " ".join(ended.stderr.split())
    assert said.startswith("error: ")
    for word in words:
        assert word in said


@pytest.fixture(scope="module")
def books(server: LiveServer) -> Iterator[str]:
    with server.client() as client:
        made = client.create_collection("books", dim=3)
        made.upsert(
            [
                {"id": "dune", "vector": [0.9, 0.1, 0], "payload": {"year": 1965, "kind": "sf"}},
                {"id": "emma", "vector": [0, 0.2, 0.9], "payload": {"year": 1815, "ok": True}},
                {
                    "id": "it",
                    "vector": [0.5, 0.5, 0],
                    "payload": {"year": 1986, "t": "[red]é[/]", "at": "2024-02-29T13:00:00+01:00"},
                },
            ]
        )
        yield "books"
        client.delete_collection("books")


def test_search_by_keyword(server: LiveServer, run: Run) -> None:
    with server.client() as client:
        made = client.create_collection(
            "texts", spaces={"s": SparseSpace()}, text_fields=[TextField("t", "english")]
        )
        made.upsert(
            [
                {"id": "1", "payload": {"t": "Running shoes"}, "vectors": {"s": {7: 0.5}}},
                {"id": "2", "payload": {"t": "A teapot", "n": 1}},
                {"id": "3", "payload": {"t": "The runs", "n": 1}},
            ]
        )
        ended = run("search", "run", "--keyword", "-c", "texts", "--json")
        assert sorted(json.loads(line)["id"] for line in ended.stdout.splitlines()) == ["1", "3"]
        ended = run("search", "run teapot", "--keyword", "-c", "texts", "-w", "n=1", "--json")
        assert sorted(json.loads(line)["id"] for line in ended.stdout.splitlines()) == ["2", "3"]
        shown = run("search", "run", "--keyword", "-c", "texts").stdout
        assert "t: Running shoes" in shown
        assert "t: The runs" in shown
        assert "\x1b" not in shown  # this is no terminal
        ended = run("get", "1", "--vectors", "-c", "texts")
        assert json.loads(ended.stdout)["vectors"] == {"s": {"7": 0.5}}
        assert "s sparse" in run("info").stdout
        failed(run("search", "run", "-c", "texts"), "unknown space ''")
        client.delete_collection("texts")


def test_facets(run: Run, books: str) -> None:
    ended = run("collections", "facets", books, "year", "--limit", "2")
    assert ended.returncode == 0
    for words in ("3 points, 3 values", "1815", "33.3%", "1 other values", "from 1815 to 1986"):
        assert words in ended.stdout
    assert "[red]é[/]" in run("collections", "facets", books, "t").stdout
    ended = run("collections", "facets", books, "yaer", "-w", "year>1900")
    assert "2 points, 0 values" in ended.stdout
    assert ended.stderr.count("did you mean 'year'?") == 1
    failed(run("collections", "facets", "nobody", "year"), "nobody")


# --- help

COMMANDS = ["serve", "demo", "import", "search", "get", "info", "collections", "check"]


def test_help_names_every_command() -> None:
    ended = vecdb("--help")
    assert ended.returncode == 0
    assert ended.stderr == ""
    for command in COMMANDS:
        assert f" {command} " in ended.stdout
    assert vecdb("-h").stdout == ended.stdout
    assert "Usage" in vecdb().stdout + vecdb().stderr  # no command at all: the same help


@pytest.mark.parametrize("words", [*([c] for c in COMMANDS), ["collections", "create"]])
def test_help_of_a_command(run: Run, words: list[str]) -> None:
    ended = run(*words, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Usage" in ended.stdout


def test_the_version() -> None:
    assert vecdb("--version").stdout == f"vecdb {__version__}\n"


@pytest.mark.parametrize(
    "words", [["nonsense"], ["search"], ["search", "x", "--nope"], ["search", "x", "-k", "many"]]
)
def test_a_wrong_use_is_status_2(run: Run, words: list[str]) -> None:
    ended = run(*words)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr


# --- collections


def test_create_list_delete(run: Run, server: LiveServer) -> None:
    words = ("made", "--dim", "4", "--metric", "dot", "--ttl", "3600")
    assert run("collections", "create", *words).returncode == 0
    with server.client() as client:
        made = client.collection("made").info()
    space = made.spaces[""]
    assert (space.dim, space.metric, made.ttl_s) == (4, "dot", 3_600)
    assert "1:00:00" in run("info").stdout
    assert "made" in run("collections", "list").stdout.splitlines()
    failed(run("collections", "create", "made", "--dim", "4"), "'made' exists")
    assert run("collections", "delete", "made", "--yes").returncode == 0
    assert "made" not in run("collections", "list").stdout.splitlines()
    failed(run("collections", "delete", "made", "--yes"), "'made'", "NOT_FOUND")


def test_delete_asks_first(run: Run, server: LiveServer) -> None:
    run("collections", "create", "asked", "--dim", "2")
    refused = run("collections", "delete", "asked", given="n\n")
    assert refused.returncode == 1
    assert "0 points" in refused.stdout
    assert "asked" in run("collections", "list").stdout.split()
    assert run("collections", "delete", "asked", given="y\n").returncode == 0
    assert "asked" not in run("collections", "list").stdout.split()


def test_points_that_match_are_deleted(run: Run, server: LiveServer) -> None:
    run("collections", "create", "mixed", "--dim", "2")
    with server.client() as client:
        mixed = client.collection("mixed")
        mixed.upsert({"id": f"p{n}", "payload": {"n": n, "odd": n % 2 == 1}} for n in range(9))
        refused = run("delete", "mixed", "--where", "n>3", "-w", "odd=true", given="n\n")
        assert refused.returncode == 1
        assert "2 of 9 points of mixed" in refused.stdout
        assert mixed.count() == 9
        done = run("delete", "mixed", "--where", "n>3", "-w", "odd=true", "-y")
        assert (done.returncode, done.stdout) == (0, "deleted 2 points of mixed\n")
        assert [point.id for point in mixed.list()] == ["p0", "p1", "p2", "p3", "p4", "p6", "p8"]
        client.delete_collection("mixed")
    failed(run("delete", "mixed", "-y"), "--where FIELD=VALUE", "truncate")
    failed(run("delete", "mixed", "-w", "n=1", "-y"), "'mixed'", "NOT_FOUND")


def test_truncate_asks_first(run: Run, server: LiveServer) -> None:
    run("collections", "create", "full", "--dim", "2")
    with server.client() as client:
        client.collection("full").upsert([{"id": "a", "vector": [1, 2]}])
        refused = run("collections", "truncate", "full", given="n\n")
        assert refused.returncode == 1
        assert "all 1 points of full" in refused.stdout
        assert client.collection("full").count() == 1
        assert run("collections", "alias", "set", "live", "full").returncode == 0
        done = run("collections", "truncate", "live", "-y")
        assert done.stdout == "removed 1 points of full\n"
        assert client.collection("full").count() == 0
        client.set_aliases({"live": None})
        client.delete_collection("full")
    failed(run("collections", "truncate", "full", "-y"), "'full'", "NOT_FOUND")


def test_aliases(run: Run, server: LiveServer) -> None:
    for name in ("v1", "v2"):
        run("collections", "create", name, "--dim", "2")
    assert run("collections", "alias", "set", "live", "v1").stdout == "live is v1\n"
    assert run("collections", "alias", "set", "live", "v2").returncode == 0
    assert run("collections", "alias", "set", "old", "v1").returncode == 0
    assert run("collections", "alias", "list").stdout == "live\tv2\nold\tv1\n"
    assert run("collections", "alias", "list", "v2").stdout == "live\tv2\n"
    failed(run("collections", "delete", "v2", "-y"), "has aliases: live")
    failed(run("collections", "alias", "set", "v1", "v2"), "ALREADY_EXISTS")
    for alias in ("live", "old"):
        assert run("collections", "alias", "delete", alias).returncode == 0
    failed(run("collections", "alias", "delete", "live"), "no alias 'live'")
    for name in ("v1", "v2"):
        assert run("collections", "delete", name, "-y").returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a/b", "--dim", "3"], ["'a/b'", "1 to 128"]),
        (["x"], ["--dim", "--model"]),
        (["x", "--dim", "3", "--metric", "cos"], ["cos", "cosine, dot, euclid, manhattan"]),
        (["x", "--dim", "0"], ["dim"]),
        (["x", "--dim", "99999"], ["16384", "99999"]),
        (["x", "--model", "gpt-99"], ["'gpt-99'", "all-minilm-l6-v2"]),
    ],
)
def test_what_cannot_be_created(run: Run, words: list[str], said: list[str]) -> None:
    failed(run("collections", "create", *words), *said)


# --- search


def test_search_by_vector_as_json(run: Run, books: str) -> None:
    ended = run("search", "[1, 0, 0]", "--json", "-c", books)
    hits = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [hit["id"] for hit in hits] == ["dune", "it", "emma"]
    assert hits[0]["payload"] == {"year": 1965, "kind": "sf"}
    assert hits[0]["score"] > hits[1]["score"] > hits[2]["score"]
    assert "é" in ended.stdout  # as it is, not escaped
    assert ended.stderr == ""


def test_search_for_people(run: Run, books: str) -> None:
    ended = run("search", "[1, 0, 0]", "-k", "2", "-c", books)
    assert ended.returncode == 0
    for word in ("dune", "1965", "ms", "3 points considered", "exact"):
        assert word in ended.stdout
    assert "emma" not in ended.stdout
    assert "[red]" in run("search", "[1, 0, 0]", "-c", books).stdout  # payloads are no markup


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        (["year>=1965"], {"dune", "it"}),
        (["year > 1965"], {"it"}),
        (["year<=1815"], {"emma"}),
        (["year<1000"], set()),
        (["year=1815"], {"emma"}),
        (["year!=1815"], {"dune", "it"}),
        (["kind=sf"], {"dune"}),
        (['kind="sf"'], {"dune"}),
        (["kind!=sf"], {"emma", "it"}),
        (["ok=true"], {"emma"}),
        (["year>=1900", "year<1970"], {"dune"}),
        (["year=1815.0"], {"emma"}),
        (["t=[red]é[/]"], {"it"}),
        (["at>=2024-01-01"], {"it"}),
        (["at<2024-02-29T12:00:00Z"], set()),
    ],
)
def test_search_with_conditions(run: Run, books: str, where: list[str], ids: set[str]) -> None:
    words = [word for text in where for word in ("--where", text)]
    ended = run("search", "[1, 1, 1]", "--json", "-c", books, *words)
    assert ended.returncode == 0, ended.stderr
    assert {json.loads(line)["id"] for line in ended.stdout.splitlines()} == ids


@pytest.mark.parametrize("where", ["year", "=1", "year>=old", "year>true", ""])
def test_a_condition_that_means_nothing(run: Run, books: str, where: str) -> None:
    failed(run("search", "[1, 1, 1]", "-c", books, "-w", where), "--where", repr(where))


def test_one_collection_needs_no_name(run: Run, books: str) -> None:
    assert '"dune"' in run("search", "[1, 0, 0]", "--json", "-k", "1").stdout
    run("collections", "create", "second", "--dim", "3")
    failed(run("search", "[1, 0, 0]"), "2 collections", "books, second", "--collection")
    run("collections", "delete", "second", "-y")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["[1, 0]", "-c", "books"], ["3 dimensions", "got 2"]),
        (["hello", "-c", "books"], ["no model"]),
        (["[1, 0, 0]", "-c", "nobody"], ["'nobody'", "NOT_FOUND"]),
        (["[1, 0, 0]", "-c", "books", "--space", "title"], ["'title'"]),
        (["[1, 0, 0]", "-c", "books", "-k", "0"], ["k"]),
        (["[NaN, 0, 0]", "-c", "books"], ["position 0 is nan"]),
    ],
)
def test_a_search_that_cannot_be(run: Run, books: str, words: list[str], said: list[str]) -> None:
    failed(run("search", *words), *said)


# --- get, info


def test_get(run: Run, books: str) -> None:
    ended = run("get", "emma", "dune", "--vectors", "-c", books)
    assert ended.returncode == 0
    emma, dune = (json.loads(line) for line in ended.stdout.splitlines())
    assert (emma["id"], dune["id"]) == ("emma", "dune")
    assert emma["payload"] == {"year": 1815, "ok": True}
    assert emma["version"] == 1
    assert dune["vectors"][""] == pytest.approx([0.9, 0.1, 0])
    assert "vectors" not in run("get", "emma", "-c", books).stdout


def test_get_what_is_missing(run: Run, books: str) -> None:
    ended = run("get", "nobody", "emma", "[bold]", "-c", books)
    assert ended.returncode == 1
    assert [json.loads(line)["id"] for line in ended.stdout.splitlines()] == ["emma"]
    assert ended.stderr.splitlines() == ["missing: nobody", "missing: [bold]"]


def test_info(run: Run, books: str, server: LiveServer) -> None:
    ended = run("info")
    assert ended.returncode == 0, ended.stderr
    said = " ".join(ended.stdout.split())
    for word in (server.address, "SERVING", "all-minilm-l6-v2", "384", "books", "cosine"):
        assert word in said


# --- a server that does not answer


@pytest.fixture(scope="module")
def nobody() -> Iterator[str]:
    """An address that is held, where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def test_no_server(nobody: str) -> None:
    for words in (["info"], ["collections", "create", "x", "--dim", "2"]):
        failed(vecdb(*words, "--address", nobody), nobody, "vecdb serve")


def test_no_server_for_a_read_either(run: Run, nobody: str) -> None:
    failed(run("get", "a", "-c", "books", "--address", nobody), nobody, "vecdb serve")


def test_an_error_is_one_line_however_long(server: LiveServer, nobody: str) -> None:
    # Whoever greps a log, or shows the last line of one, gets the whole of it.
    for words, address in (
        (["get", "a", "-c", "x" * 100], server.address),
        (["search", "[1]", "-c", "books", "-w", "year"], server.address),
        (["info"], nobody),
    ):
        (line,) = vecdb(*words, address=address).stderr.splitlines()
        assert line.startswith("error: ")


def test_an_address_that_is_none(run: Run) -> None:
    failed(run("info", "--address", "http://127.0.0.1:1"), "host:port")


def test_the_client_and_the_commands_agree(server: LiveServer, run: Run, books: str) -> None:
    with Client(server.address) as client:
        names = [one.name for one in client.list_collections()]
    assert run("collections", "list").stdout.splitlines() == names
