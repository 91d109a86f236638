"""The rules of style that a program can check. What needs judgement is left to readers."""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from vecdb import errors
from vecdb.config import settings
from vecdb.rpc.pb import (
    collections_pb2,
    common_pb2,
    errors_pb2,
    models_pb2,
    points_pb2,
    reembed_pb2,
    search_pb2,
)

ROOT = Path(__file__).resolve().parent.parent
FILE_LINES_MAX, FUNCTION_LINES_MAX = 450, 70
# A name like these says nothing of what is inside.
EMPTY_NAMES = re.compile(r"utils?|helpers?|managers?|handlers?|common|process(or|ing)?|data|infos?")
ALLOWED_NAMES = {"vecdb/embed/process.py"}  # the life of a process is what it is about


@cache
def tracked() -> tuple[Path, ...]:
    """Return what git has, or would have: tracked files, and new ones that it does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = [name for name in listed.stdout.split("\0") if name]
    return tuple(path for path in map(Path, sorted(names)) if (ROOT / path).is_file())


def is_generated(path: Path) -> bool:
    return "pb" in path.parts[:-1]


def python_files(*parts: str) -> list[Path]:
    """Return the Python files below some folders that a person wrote."""
    return [
        path
        for path in tracked()
        if path.suffix == ".py" and not is_generated(path) and path.as_posix().startswith(parts)
    ]


SOURCES = ("vecdb/", "clients/python/src/")
CODE = (".py", ".pyi", ".cpp", ".hpp", ".inc", ".proto", ".toml", ".sh")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_bytes(), str(path))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def clean(findings: list[str]) -> None:
    """Fail with one finding a line."""
    assert not findings, "\n" + "\n".join(findings)


# --- files and functions


def test_the_files_are_found() -> None:
    assert len(python_files(*SOURCES)) > 40
    assert len(python_files("tests/")) > 10


def test_every_module_says_what_it_answers() -> None:
    clean([str(path) for path in python_files(*SOURCES) if not ast.get_docstring(tree_of(path))])


def test_no_file_is_too_long() -> None:
    sizes = {path: (ROOT / path).read_text().count("\n") for path in python_files("")}
    clean([f"{path}: {n} lines" for path, n in sizes.items() if n > FILE_LINES_MAX])


def test_no_function_is_too_long() -> None:
    clean(
        [
            f"{path}:{one.lineno} {one.name}: {one.end_lineno - one.lineno + 1} lines"
            for path in python_files("")
            for one in functions(path)
            if one.end_lineno - one.lineno + 1 > FUNCTION_LINES_MAX
        ]
    )


def test_names_say_what_is_inside() -> None:
    found: list[str] = []
    for path in tracked():
        if path.suffix not in (".py", ".pyi", ".cpp", ".hpp", ".proto") or is_generated(path):
            continue
        for part in (*path.parts[:-1], path.stem):
            proto_words = path.suffix == ".proto" and part == "common"  # the API's own word
            if EMPTY_NAMES.fullmatch(part) and str(path) not in ALLOWED_NAMES and not proto_words:
                found.append(f"{path}: {part!r}")
    clean(found)


def test_classes_are_not_called_manager() -> None:
    empty = re.compile(r"(Manager|Helper|Utils?|Processor)$")
    clean(
        [
            f"{path}:{node.lineno} {node.name}"
            for path in python_files(*SOURCES)
            for node in ast.walk(tree_of(path))
            if isinstance(node, ast.ClassDef) and empty.search(node.name)
        ]
    )


# --- what is not left behind


def test_nothing_prints() -> None:
    found: list[str] = []
    for path in python_files(*SOURCES):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                found += [f"{path}:{node.lineno}"] * (node.func.id in ("print", "breakpoint"))
    clean(found)


UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")


def test_nothing_is_left_unfinished() -> None:
    found: list[str] = []
    for path in tracked():
        if path.suffix not in CODE:
            continue
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
            if UNFINISHED.search(line):
                found.append(f"{path}:{number} {line.strip()}")
    clean(found)


def test_no_error_is_swallowed_without_a_word() -> None:
    """`except: pass` needs a comment that says why; a bare `except:` is never right."""
    found: list[str] = []
    for path in python_files(*SOURCES):
        lines = (ROOT / path).read_text().splitlines()
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            silent = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
            said = any("#" in line for line in lines[node.lineno - 1 : node.body[0].end_lineno])
            if node.type is None or (silent and not said):
                found.append(f"{path}:{node.lineno}")
    clean(found)


def test_nothing_reads_the_environment_on_import() -> None:
    found: list[str] = []
    for path in python_files(*SOURCES):
        for statement in tree_of(path).body:
            if isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
                continue
            for node in ast.walk(statement):
                if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv"):
                    found.append(f"{path}:{node.lineno}")
    clean(found)


def test_readiness_is_never_a_sleep() -> None:
    found: list[str] = []
    for path in python_files(*SOURCES, "tests/rpc/", "tests/cli/", "tests/segment/"):
        with (ROOT / path).open("rb") as source:
            tokens = [t.string for t in tokenize.tokenize(source.readline)]
        found += [
            f"{path}"
            for a, b in zip(tokens, tokens[2:], strict=False)
            if a == "time" and b == "sleep"
        ]
    clean(found)


WALL_CLOCK = {
    "vecdb/backup/schedule.py": "how old the newest backup is, once at a start",
    "vecdb/auth/audit.py": "when a call was made, for people",
    "vecdb/auth/authenticator.py": "when keys and tokens expire",
    "vecdb/auth/keys.py": "when keys were made, and when they expire",
    "vecdb/cli/keys.py": "when keys expire",
    "vecdb/backup/making.py": "when a backup was made, for people",
    "vecdb/backup/manifest.py": "ids of backups, which sort by time",
    "vecdb/certificates.py": "when a certificate expires",
    "vecdb/clock.py": "when points expire",
    "vecdb/collection/upkeep.py": "names of quarantined segments",
    "vecdb/copies.py": "when a collection was cloned, for people",
    "vecdb/database.py": "when a collection was made, for people",
    "vecdb/embed/address.py": "dates in a service's Retry-After",
    "vecdb/ops/embeddings_http.py": "OpenAI's `created`, for people",
    "vecdb/otel.py": "when spans were, for people",
    "vecdb/rpc/services/query_log.py": "when a question was asked, for people",
}
"""Who asks what time it is, and what for. Everything else measures by the monotonic clock."""


def test_the_wall_clock_is_for_people_and_for_what_expires() -> None:
    asked = re.compile(r"\btime\.time(_ns)?\(|\bdatetime\.(now|utcnow)\(|\blocaltime\(|\bgmtime\(")
    found = {
        str(path) for path in python_files("vecdb/") if asked.search((ROOT / path).read_text())
    }
    assert found == set(WALL_CLOCK)


# Split, so that this file is not the first to be found.
PRIVATE = re.compile(
    "|".join(
        [
            r"(?<![\w.~-])/ho" r"me/\w",
            r"(?<![\w./-])/ro" r"ot/\w",
            r"(?<![\w./-])/wo" r"rk/\w",
            r"(?<![\w./-])/Us" r"ers/\w",
            r"\bpypi\.o" r"rg\b",
            r"\bnpm" r"js\b",
            r"files\.python" r"hosted",
            r"\bproxy\.gol" r"ang\b",
        ]
    )
)


def test_no_path_of_one_machine_and_no_registry() -> None:
    found: list[str] = []
    for path in tracked():
        try:
            text = (ROOT / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # golden data
        for number, line in enumerate(text.splitlines(), 1):
            if PRIVATE.search(line):
                found.append(f"{path}:{number} {line.strip()[:80]}")
    clean(found)


def test_text_files_are_plain() -> None:
    found: list[str] = []
    for path in tracked():
        if path.suffix not in (
            ".py",
            ".pyi",
            ".cpp",
            ".hpp",
            ".inc",
            ".proto",
            ".toml",
            ".md",
            ".sh",
        ):
            continue
        content = (ROOT / path).read_bytes()
        if b"\r" in content or b"\t" in content or (content and not content.endswith(b"\n")):
            found.append(f"{path}: a tab, a carriage return, or no newline at the end")
        if re.search(rb"[ ]+\n", content) and path.suffix != ".md":
            found.append(f"{path}: a line ends in spaces")
    clean(found)


# --- settings, errors


def test_every_setting_is_explained() -> None:
    for name, item in settings().items():
        assert len(item.metadata["doc"]) > 8, name
        numeric = type(item.default) in (int, float)
        assert numeric == (item.metadata["low"] is not None), name
        assert numeric == (item.metadata["high"] is not None), name


UNITS = {"s", "ms", "bytes", "points", "items", "texts", "tokens", "threads", "nodes", "depth"}
COUNTS = {
    "keep",
    "aggregations",
    "values",
    "vectors",
    "fields",
    "words",
    "k",
    "ef",
    "legs",
    "groups",
    "queries",
    "paths",
    "calls",
    "dim",
    "spaces",
    "aliases",
    "collections",
    "keys",
    "open_collections",
    "writes",
    "retained",
    "workers",
    "streams",
    "chunks",
    "readers",
    "at_once",
    "relevance",
    "temperature",
    "ratio",
}


def test_numbers_name_their_unit_last() -> None:
    for name, item in settings().items():
        if type(item.default) in (int, float):
            key = name.partition(".")[2]
            assert key in COUNTS or key.rpartition("_")[2] in UNITS | COUNTS, name


SECTIONS = "limits|storage|embed|server|documents|answer|log|metrics|traces"
HINTED = re.compile(rf"\b(?:raise|see|set|key=\W?) ((?:{SECTIONS})\.\w+)")


def test_settings_that_messages_name_exist() -> None:
    found: list[str] = []
    for path in python_files(*SOURCES):
        for name in HINTED.findall((ROOT / path).read_text()):
            found += [f"{path}: {name}"] * (name not in settings())
    clean(found)


def test_protocol_and_settings_name_the_same_limits() -> None:
    known = settings()
    found: list[str] = []
    for path in tracked():
        if path.suffix != ".proto":
            continue
        text = (ROOT / path).read_text()
        for name, value in re.findall(r"`(\w+\.\w+)` \(([\d,]+)\)", text):
            if name not in known or known[name].default != int(value.replace(",", "")):
                found.append(f"{path}: {name} ({value})")
    clean(found)


def test_errors_knows_no_grpc() -> None:
    assert "grpc" not in vars(errors)
    tree = tree_of(Path("vecdb/errors.py"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules <= {"__future__", "typing", "collections.abc", "dataclasses"}


# --- the protocol

PROTOS = (
    collections_pb2,
    common_pb2,
    errors_pb2,
    models_pb2,
    points_pb2,
    reembed_pb2,
    search_pb2,
)


def messages(file) -> Iterator:
    pending = list(file.DESCRIPTOR.message_types_by_name.values())
    while pending:
        message = pending.pop()
        pending += message.nested_types
        yield message


def test_every_enum_begins_with_unspecified() -> None:
    enums = [
        enum
        for file in PROTOS
        for enum in [
            *file.DESCRIPTOR.enum_types_by_name.values(),
            *(enum for message in messages(file) for enum in message.enum_types),
        ]
    ]
    assert len(enums) >= 2
    for enum in enums:
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper()
        assert enum.values_by_number[0].name == f"{prefix}_UNSPECIFIED"
        for value in enum.values:
            assert value.name.startswith(f"{prefix}_")


def test_no_message_carries_a_timeout() -> None:
    for file in PROTOS[:2] + PROTOS[3:]:
        for message in messages(file):
            for field in message.fields:
                assert not re.search(r"timeout|deadline", field.name), field.full_name


def test_field_numbers_have_no_gaps() -> None:
    """Nothing was released yet: a gap would be a field that somebody forgot to reserve."""
    for file in PROTOS:
        for message in messages(file):
            numbers = sorted(field.number for field in message.fields)
            assert numbers == list(range(1, len(numbers) + 1)), message.full_name


def test_every_call_has_its_own_request_and_response() -> None:
    seen: list[str] = []
    for file in PROTOS:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                assert method.input_type.name.endswith("Request"), method.full_name
                assert method.output_type.name.endswith("Response"), method.full_name
                seen += [method.input_type.full_name, method.output_type.full_name]
    assert len(seen) == len(set(seen))


def test_every_file_and_every_call_is_explained() -> None:
    found: list[str] = []
    for path in tracked():
        if path.suffix != ".proto" or path.parts[:3] != ("proto", "vecdb", "v1"):
            continue
        lines = [line.strip() for line in (ROOT / path).read_text().splitlines()]
        for above, line in itertools.pairwise(lines):
            if line.startswith("rpc ") and not above.startswith("//"):
                found.append(f"{path}: {line}")
        assert lines[0].startswith("//"), path
    clean(found)
