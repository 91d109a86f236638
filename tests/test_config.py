"""Settings: where they come from, what wins, and what is refused by name."""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import tomllib
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.live import run_vecdb
from vecdb.config import Config, load, settings
from vecdb.errors import InvalidArgument

SETTINGS = settings()
BOUNDED = [name for name, item in SETTINGS.items() if item.metadata["low"] is not None]


def value_of(config: Config, name: str) -> object:
    section, _, key = name.partition(".")
    return getattr(getattr(config, section), key)


def variable(name: str) -> str:
    return "VECDB_" + name.replace(".", "_").upper()


def written(folder: Path, text: str) -> Path:
    file = folder / "vecdb.toml"
    file.write_text(text, encoding="utf-8")
    return file


def refused(*, file: Path | None = None, environ=None, flags=None) -> str:
    with pytest.raises(InvalidArgument) as caught:
        load(file, environ or {}, flags or {})
    return str(caught.value)


# --- precedence


def test_nothing_given_gives_the_defaults() -> None:
    config = load(None, {}, {})
    assert config == Config()
    for name, item in SETTINGS.items():
        assert value_of(config, name) == item.default
    assert load(None, {}, dict.fromkeys(SETTINGS)) == Config()  # None is: not given


def test_flags_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = written(tmp_path, "[limits]\nk = 10\ndim = 10\nspaces = 10\n[server]\ndata = 'file'\n")
    environ = {"VECDB_LIMITS_K": "20", "VECDB_LIMITS_DIM": "20", "VECDB_SERVER_DATA": "environment"}
    config = load(file, environ, {"limits.k": "30", "server.data": None})
    assert (config.limits.k, config.limits.dim, config.limits.spaces) == (30, 20, 10)
    assert config.limits.collections == Config().limits.collections
    assert config.server.data == "environment"


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_can_come_from_everywhere(tmp_path: Path, name: str) -> None:
    item = SETTINGS[name]
    section, _, key = name.partition(".")
    words = item.metadata["one_of"] or ("another",)
    given = {bool: not item.default, str: words[-1]}.get(type(item.default))
    if given is None:
        low, high = item.metadata["low"], item.metadata["high"]
        given = next((end for end in (low, high) if end and end != item.default), (low + high) / 2)
    literal = str(given).lower() if isinstance(given, bool) else repr(given)
    file = written(tmp_path, f"[{section}]\n{key} = {literal}\n")
    for config in (
        load(file, {}, {}),
        load(None, {variable(name): str(given)}, {}),
        load(None, {}, {name: given}),
        load(None, {}, {name: str(given)}),
    ):
        assert value_of(config, name) == given != item.default
        assert type(value_of(config, name)) is type(item.default)
        assert dataclasses.replace(config) == config


# --- unknown


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("embed.device", "expects str (cpu, openvino or cuda), got 'gpu'"),
        ("embed.precision", "expects str (float32 or bfloat16), got 'gpu'"),
    ],
)
def test_a_word_is_one_of_those_there_are(name: str, said: str) -> None:
    for source in ({"environ": {variable(name): "gpu"}}, {"flags": {name: "gpu"}}):
        assert f"{name} {said}" in refused(**source)
    config = load(None, {}, {name: SETTINGS[name].metadata["one_of"][-1]})
    assert value_of(config, name) == SETTINGS[name].metadata["one_of"][-1]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("limits.kk", "limits.k"),
        ("server.lissten", "server.listen"),
        ("servr.listen", "server.listen"),
        ("storage.tail_point", "storage.tail_points"),
        ("embed.thread", "embed.threads"),
        ("limits.batch_item", "limits.batch_items"),
    ],
)
def test_an_unknown_key_names_its_near_misses(tmp_path: Path, name: str, near: str) -> None:
    section, _, key = name.partition(".")
    file = written(tmp_path, f"[{section}]\n{key} = 1\n")
    for said, source in (
        (refused(file=file), str(file)),
        (refused(flags={name: "1"}), "flag"),
    ):
        assert source in said
        assert repr(name) in said
        assert near in said.partition("did you mean")[2]
    if section in ("server", "limits", "storage", "embed"):
        said = refused(environ={variable(name): "1"})
        assert variable(name) in said
        assert near in said.partition("did you mean")[2]


def test_a_key_like_no_other_says_where_to_look() -> None:
    assert "--print-config" in refused(flags={"zzzzzz.qqqqqqqq": "1"})


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("k = 1\n", "'k'"),
        ("[limits.k]\nx = 1\n", "limits.k"),
        ("[[limits]]\nk = 1\n", "'limits'"),
        ("[nothing]\n", "'nothing'"),
        ("[servr]\n", "'servr'"),
    ],
    ids=["no section", "table for a value", "array", "empty unknown section", "empty near miss"],
)
def test_a_file_of_another_shape(tmp_path: Path, text: str, word: str) -> None:
    file = written(tmp_path, text)
    said = refused(file=file)
    assert str(file) in said
    assert word in said


@pytest.mark.parametrize("content", [b"not = = toml", b"\xff\xfe", b"[limits]\nk = 1\nk = 2\n"])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    assert str(file) in refused(file=file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "nowhere.toml" in refused(file=tmp_path / "nowhere.toml")
    assert str(tmp_path) in refused(file=tmp_path)


KUBERNETES = {
    # A service named "vecdb", and one named "vecdb-server": what a pod of their namespace is given.
    "VECDB_SERVICE_HOST": "10.0.0.1",
    "VECDB_SERVICE_PORT": "6363",
    "VECDB_SERVICE_PORT_GRPC": "6363",
    "VECDB_PORT": "tcp://10.0.0.1:6363",
    "VECDB_PORT_6363_TCP": "tcp://10.0.0.1:6363",
    "VECDB_PORT_6363_TCP_ADDR": "10.0.0.1",
    "VECDB_SERVER_SERVICE_HOST": "10.0.0.1",
    "VECDB_SERVER_SERVICE_PORT": "6363",
    "VECDB_SERVER_SERVICE_PORT_METRICS": "6364",
    "VECDB_SERVER_PORT": "tcp://10.0.0.1:6363",
    "VECDB_SERVER_PORT_6363_TCP": "tcp://10.0.0.1:6363",
    "VECDB_SERVER_PORT_6363_TCP_PROTO": "tcp",
    "VECDB_SERVER_PORT_6363_TCP_PORT": "6363",
    "VECDB_SERVER_PORT_6363_TCP_ADDR": "10.0.0.1",
}


@pytest.mark.parametrize("name", [*KUBERNETES, "VECDB_ADDRESS", "PATH", "vecdb_limits_k"])
def test_variables_of_others_are_left_alone(name: str) -> None:
    assert load(None, {name: KUBERNETES.get(name, "1")}, {}) == Config()


# --- types and bounds


@pytest.mark.parametrize("name", BOUNDED)
def test_both_bounds_are_allowed_and_nothing_beyond(name: str) -> None:
    item = SETTINGS[name]
    low, high = item.metadata["low"], item.metadata["high"]
    assert low <= item.default <= high
    for bound in (low, high):
        assert value_of(load(None, {}, {name: bound}), name) == bound
        assert value_of(load(None, {variable(name): str(bound)}, {}), name) == bound
    for beyond in (low - 1, high + 1, str(low - 1), str(high + 1)):
        said = refused(flags={name: beyond})
        for word in (name, f"{low} to {high}", repr(beyond)):
            assert word in said


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("limits.k", "ten"),
        ("limits.k", ""),
        ("limits.k", "1.5"),
        ("limits.k", "1e3"),
        ("limits.k", "0x10"),
        ("limits.k", "true"),
        ("server.drain_s", "soon"),
        ("server.drain_s", "nan"),
        ("server.drain_s", "inf"),
        ("server.insecure", "maybe"),
        ("server.insecure", ""),
        ("server.insecure", "2"),
    ],
)
def test_text_that_is_no_value(name: str, text: str) -> None:
    for said in (refused(environ={variable(name): text}), refused(flags={name: text})):
        assert name in said
        assert type(SETTINGS[name].default).__name__ in said
        assert repr(text) in said
    assert variable(name) in refused(environ={variable(name): text})


@pytest.mark.parametrize(
    "line",
    ["k = true", "k = 1.0", "k = [1]", "k = {a = 1}", "k = 2020-01-01", "k = 'ten'"],
)
def test_a_file_value_of_another_type(tmp_path: Path, line: str) -> None:
    said = refused(file=written(tmp_path, f"[limits]\n{line}\n"))
    assert "limits.k" in said
    assert "int" in said


@pytest.mark.parametrize("line", ["data = 7", "data = true", "insecure = 1", "drain_s = true"])
def test_a_file_does_not_guess(tmp_path: Path, line: str) -> None:
    assert f"server.{line.split()[0]}" in refused(file=written(tmp_path, f"[server]\n{line}\n"))


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("TRUE", True), ("Yes", True), ("on", True), ("0", False), ("off", False)],
)
def test_words_for_true_and_false(text: str, value: bool) -> None:
    assert load(None, {"VECDB_SERVER_INSECURE": text}, {}).server.insecure is value


def test_a_whole_number_of_seconds_is_a_float(tmp_path: Path) -> None:
    config = load(written(tmp_path, "[server]\ndrain_s = 3\n"), {}, {})
    assert (config.server.drain_s, type(config.server.drain_s)) == (3.0, float)


# --- printed, and read again


def values(name: str) -> st.SearchStrategy[object]:
    item = SETTINGS[name]
    low, high = item.metadata["low"], item.metadata["high"]
    if isinstance(item.default, bool):
        return st.booleans()
    if isinstance(item.default, int):
        return st.integers(int(low), int(high))
    if isinstance(item.default, float):
        return st.floats(low, high)
    if item.metadata["one_of"]:
        return st.sampled_from(item.metadata["one_of"])
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@hypothesis.settings(deadline=None)
@given(st.fixed_dictionaries({}, optional={name: values(name) for name in SETTINGS}))
def test_what_is_printed_is_read_back_the_same(tmp_path_factory, given: dict[str, object]) -> None:
    config = load(None, {}, given)
    file = tmp_path_factory.getbasetemp() / "printed.toml"
    file.write_bytes(config.to_toml().encode())
    assert load(file, {}, {}) == config


def test_every_setting_is_printed_with_its_meaning_and_bounds() -> None:
    text = Config().to_toml()
    tree = tomllib.loads(text)
    assert {f"{s}.{k}" for s, part in tree.items() for k in part} == set(SETTINGS)
    for name, item in SETTINGS.items():
        assert f"# {item.metadata['doc']}" in text
        if name in BOUNDED:
            assert f"({item.metadata['low']} to {item.metadata['high']})" in text


def serve(*flags: str, **environ: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("VECDB_")}
    return run_vecdb("serve", *flags, environment={**plain, **environ})


def test_print_config_shows_what_is_in_force(tmp_path: Path) -> None:
    file = written(
        tmp_path, '[limits]\nk = 11\ndim = 12\n[server]\ndata = "odd \\"ünïcode\\" dir"\n'
    )
    ended = serve(
        "--print-config",
        "--config",
        str(file),
        "--listen",
        "127.0.0.1:7777",
        "--set",
        "embed.threads=3",
        VECDB_LIMITS_K="22",
        VECDB_SERVICE_HOST="10.0.0.1",
        VECDB_SERVER_PORT="tcp://10.0.0.1:6363",
    )
    assert ended.returncode == 0, ended.stderr
    again = written(tmp_path, ended.stdout)
    config = load(again, {}, {})
    assert (config.limits.k, config.limits.dim, config.embed.threads) == (22, 12, 3)
    assert (config.server.listen, config.server.data) == ("127.0.0.1:7777", 'odd "ünïcode" dir')
    assert serve("--print-config", "--config", str(again)).stdout == ended.stdout


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--set", "limits.kk=1"), ["limits.kk", "limits.k"]),
        (("--set", "limits.k"), ["SECTION.KEY=VALUE"]),
        (("--set", "limits.k=0"), ["limits.k", "1 to 100000", "'0'"]),
        (("--data", "x", "--set", "server.data=y"), ["server.data", "flag"]),
        (("--config", "nowhere.toml"), ["nowhere.toml"]),
        (("--set", "server.log_level=loud"), ["server.log_level", "'loud'", "debug, info"]),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path: Path, flags, words: list[str]) -> None:
    ended = serve(*flags, "--listen", "127.0.0.1:0", VECDB_SERVER_METRICS="127.0.0.1:0")
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    said = " ".join(ended.stderr.split())
    for word in ("error:", *words):
        assert word in said


def test_no_bound_is_absurd() -> None:
    for name in BOUNDED:
        low, high = SETTINGS[name].metadata["low"], SETTINGS[name].metadata["high"]
        assert math.isfinite(low)
        assert math.isfinite(high)
        assert low < high
