"""What an operator can set, with default, bounds and meaning of each; built once, handed down.

Precedence: flags over ``VECDB_<SECTION>_<KEY>`` over the TOML file over the defaults below. An
unknown key is an error everywhere, and names its near misses.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from vecdb.errors import InvalidArgument
from vecdb.observe_config import LogConfig, MetricsConfig, TracesConfig
from vecdb.setting import bounds, checked, setting, toml

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where the server listens and how it behaves."""

    data: str = setting("./vecdb-data", "data directory; made when missing")
    listen: str = setting("127.0.0.1:6363", "gRPC address; port 0 picks a free one")
    metrics: str = setting(
        "127.0.0.1:6364", "HTTP address of /metrics, /livez, /readyz; '' for none"
    )
    workers: int = setting(
        1,
        "processes that answer reads: 1 has all in one process; more have a writer beside them; "
        "0 for one per core",
        0,
        64,
    )
    threads: int = setting(
        16,
        "gRPC calls of a kind (see limits.query_calls) worked on at once, by each process, beside "
        "searches that are quick",
        2,
        1024,
    )
    drain_s: float = setting(10.0, "seconds that calls under way get at SIGTERM", 0, 600)
    insecure: bool = setting(False, "allow an address beyond loopback without TLS and keys")
    log_level: str = setting("info", "debug, info, warning or error")


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """TLS of the gRPC and HTTP ports. The files are read again when they change."""

    cert_file: str = setting("", "PEM file of the certificate and its chain; '' for plain text")
    key_file: str = setting("", "PEM file of its key, without a password")
    client_ca_file: str = setting(
        "",
        "PEM file of authorities whose certificates clients of gRPC and of embed.http need; '' for "
        "none. server.metrics never asks for one",
    )
    metrics: bool = setting(True, "server.metrics has TLS, too; false: plain text for probes")


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """Who may call. With none of these, and no key made by `vecdb keys`, anybody who reaches it."""

    key_file: str = setting(
        "", "file of keys that may do everything, one a line; read again when it changes"
    )
    jwt_secret_file: str = setting("", "file with the secret of HS256 tokens; '' takes none")
    jwt_public_key_file: str = setting("", "PEM file with the RSA key of RS256 tokens; likewise")
    jwt_audience: str = setting("", "what the claim `aud` of a token must name; '' for anything")
    jwt_issuer: str = setting("", "what the claim `iss` of a token must be; '' for anything")


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """The log of calls that change something, or were refused."""

    file: str = setting("", "file to which a JSON line is added for each; '' for none")


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """The most that a request may ask."""

    message_bytes: int = setting(64 * MIB, "bytes of one gRPC message", 64 * KIB, 1 * GIB)
    batch_items: int = setting(10_000, "operations of a write, ids of a get", 1, 1_000_000)
    page_items: int = setting(10_000, "points of a page of List", 1, 100_000)
    payload_bytes: int = setting(1 * MIB, "bytes of a payload", 2, 64 * MIB)
    text_bytes: int = setting(1 * MIB, "bytes of a text to encode", 1, 64 * MIB)
    embed_texts: int = setting(1_000, "items of an Embed, Rerank or Tokenize call", 1, 100_000)
    image_bytes: int = setting(16 * MIB, "bytes of an image to encode", 1, 64 * MIB)
    k: int = setting(10_000, "hits of a query", 1, 100_000)
    queries: int = setting(1_000, "queries of a QueryBatch", 1, 100_000)
    groups: int = setting(1_000, "groups of a query", 1, 100_000)
    legs: int = setting(10, "legs of a query", 1, 100)
    mask_paths: int = setting(100, "paths of a payload mask", 1, 10_000)
    ef: int = setting(10_000, "points that a graph walk keeps in sight", 16, 1_000_000)
    dim: int = setting(16_384, "length of a vector", 1, 65_536)
    spaces: int = setting(16, "spaces of a collection, dense and sparse", 1, 255)
    sparse_values: int = setting(4_096, "values of a sparse vector", 1, 1_000_000)
    multi_vectors: int = setting(
        1_024, "vectors of a point in a multi-dense space, and of a query near to them", 1, 16_384
    )
    text_fields: int = setting(16, "text fields of a collection", 1, 255)
    query_words: int = setting(1_000, "words of a keyword query", 1, 100_000)
    collections: int = setting(10_000, "collections of a server", 1, 1_000_000)
    aliases: int = setting(10_000, "aliases of a server", 1, 1_000_000)
    metadata_bytes: int = setting(64 * KIB, "bytes of a collection's metadata", 2, 1 * MIB)
    filter_nodes: int = setting(1_000, "nodes and values of a filter", 1, 100_000)
    filter_depth: int = setting(32, "levels of a filter", 1, 64)
    query_calls: int = setting(256, "calls that read, open at once in a process", 1, 4096)
    write_calls: int = setting(
        128, "calls that write points or documents, open at once in a process", 1, 4096
    )
    embed_calls: int = setting(
        128, "calls that embed, re-rank or make a context, open at once in a process", 1, 4096
    )
    admin_calls: int = setting(
        64, "all other calls (schema, models, upkeep), open at once in a process", 1, 4096
    )
    streams: int = setting(100, "Watch and WriteStream calls open at once in a process", 1, 4096)
    aggregations: int = setting(32, "aggregations of a call", 1, 1_000)
    facet_values: int = setting(1_000, "values of a facet", 1, 100_000)
    keys: int = setting(1_000, "API keys that have not ended", 1, 100_000)
    queued_writes: int = setting(256, "writes that wait for the writer", 1, 100_000)
    memory_bytes: int = setting(
        0,
        "memory of all processes of the node, mapped files left out; 0 for what the machine or its "
        "control group has",
        0,
        1 << 50,
    )
    memory_reserve_bytes: int = setting(
        0,
        "what of it puts must leave, or they are refused until a quarter more is left; 0 for a "
        "tenth of it",
        0,
        1 << 50,
    )


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """How collections are kept. The defaults suit most."""

    map_bytes: int = setting(16 * GIB, "address space of a store to begin with", 1 * MIB, 1 << 46)
    changes_retained: int = setting(
        16_384, "writes that readers, Watch and idempotency keys can look back", 16, 10_000_000
    )
    tail_points: int = setting(
        2_048, "points searched in memory before a segment is built", 16, 65_536
    )
    graph_points: int = setting(
        5_000, "points from which on a segment is searched by a graph", 64, 1 << 24
    )
    segment_points: int = setting(
        1 << 20,
        "points of the largest segment; a graph's build takes 3.6 times their vectors' memory",
        1_024,
        1 << 27,
    )
    build_threads: int = setting(0, "threads of a graph's build; 0 for all cores", 0, 1024)
    disk_reserve_bytes: int = setting(
        64 * MIB,
        "free disk space below which puts are refused, until a quarter more is free; deletes work",
        0,
        1 << 40,
    )
    open_collections: int = setting(256, "collections kept open at once", 1, 100_000)


@dataclass(frozen=True, slots=True)
class BackupConfig:
    """Backups that the node makes by itself. Credentials of a bucket come from the environment."""

    place: str = setting("", "folder, or s3://bucket/prefix, of scheduled backups; '' for none")
    interval_s: float = setting(86_400.0, "seconds from one to the next", 60, 31_622_400)
    keep: int = setting(7, "backups kept there, the newest; 0 for all", 0, 100_000)


@dataclass(frozen=True, slots=True)
class EmbedConfig:
    """The embedding worker."""

    enabled: bool = setting(True, "start the embedding worker where its packages are installed")
    model: str = setting("all-minilm-l6-v2", "model for calls that name none")
    models: str = setting(
        "", "comma-separated catalogue names to serve beside it; '' for the default model alone"
    )
    preload: bool = setting(
        True, "load all models at start, as many as fit; false: each but the default at first use"
    )
    catalog: str = setting("", "TOML file of models of your own, beside those that come with vecdb")
    device: str = setting("cpu", "what models run on", one_of=("cpu", "openvino", "cuda"))
    precision: str = setting(
        "float32", "numbers that models compute with", one_of=("float32", "bfloat16")
    )
    threads: int = setting(0, "threads of inference; 0 for all cores", 0, 1024)
    memory_bytes: int = setting(
        0, "memory that loaded models may take; 0 for half of the machine's", 0, 1 << 50
    )
    idle_s: float = setting(
        3600.0, "seconds after which an unused model but the default is unloaded", 1, 1e9
    )
    cache_bytes: int = setting(
        64 * MIB, "vectors of texts encoded lately, kept; 0 for none", 0, 1 << 50
    )
    queue_texts: int = setting(4_096, "texts that may wait for the model", 1, 1_000_000)
    queue_tokens: int = setting(
        2_000_000, "tokens of the texts that may wait for the model", 1_024, 1_000_000_000
    )
    batch_tokens: int = setting(
        1_024, "most padded tokens of one inference batch; it aims at 50 ms", 64, 1_000_000
    )
    batch_age_ms: int = setting(
        500, "age at which a waiting text goes first, whatever its length", 1, 60_000
    )
    start_s: float = setting(
        300.0, "seconds in which a worker must have loaded its default model", 1, 86_400
    )
    stalled_s: float = setting(
        300.0, "seconds after which a batch hangs, and its worker is started again", 1, 86_400
    )
    worker: str = setting(
        "",
        "host:port of `vecdb embed-worker` elsewhere; '' for a process of this node's own",
    )
    worker_ca_file: str = setting(
        "", "PEM file of authorities that the worker's certificate is from; '' for plain text"
    )
    worker_key_file: str = setting(
        "",
        "file of the keys that nodes and worker share, one a line: nodes send the first, the "
        "worker takes any; '' for none",
    )
    http: str = setting("", "HTTP address of an OpenAI-compatible /v1/embeddings; '' for none")
    timeout_s: float = setting(120.0, "deadline of an encoding where the call has none", 0.1, 3600)


@dataclass(frozen=True, slots=True)
class DocumentsConfig:
    """How documents are read, cut and found."""

    document_bytes: int = setting(16 * MIB, "bytes of a document", 1 * KIB, 1 * GIB)
    put_items: int = setting(1_000, "documents of a Put", 1, 100_000)
    document_chunks: int = setting(20_000, "chunks of a document", 1, 1_000_000)
    chunk_tokens: int = setting(
        200, "most tokens of a chunk, where its model reads as many", 16, 8_192
    )
    overlap_tokens: int = setting(25, "tokens that a chunk repeats of the one before it", 0, 4_096)
    readers: int = setting(
        2, "processes that read documents (HTML, PDF, Markdown) at the same time", 1, 64
    )
    reader_memory_bytes: int = setting(
        1 * GIB, "memory of one of them; a document that needs more is refused", 128 * MIB, 1 << 40
    )
    reader_s: float = setting(
        30.0, "seconds that reading a document may take; one that needs more is refused", 0.1, 3600
    )
    question_bytes: int = setting(8 * KIB, "bytes of a question, and of a turn", 16, 1 * MIB)
    context_tokens: int = setting(
        2_000, "most tokens of a context, where a call names none", 16, 1_000_000
    )
    min_relevance: float = setting(
        0.5, "relevance that a passage must have, 0 to 1; 0 keeps all", 0, 1
    )
    query_log: str = setting(
        "",
        "collection that keeps questions, with what was found, for Feedback and Replay; made when "
        "missing; '' keeps none",
    )


@dataclass(frozen=True, slots=True)
class AnswerConfig:
    """The language model that answers: any server with OpenAI's chat completions."""

    endpoint: str = setting(
        "", "its address up to /v1, such as http://127.0.0.1:8000/v1; '' for none"
    )
    model: str = setting("", "what the server calls the model; '' for its first")
    key_env: str = setting("", "environment variable that holds its key; '' for none")
    key_file: str = setting("", "file that holds its key; '' for none")
    ca_file: str = setting("", "certificates to trust instead of the system's; '' for those")
    max_tokens: int = setting(512, "most tokens of an answer", 1, 1_000_000)
    temperature: float = setting(0.1, "how freely it chooses words", 0, 2)
    timeout_s: float = setting(
        60.0, "seconds in which it must begin to answer, and then go on", 0.1, 3600
    )
    at_once: int = setting(8, "answers written at the same time; more wait for their turn", 1, 1024)
    templates: str = setting(
        "", "folder with prompts of your own: answer.en.txt and so on; '' for vecdb's"
    )


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, by section."""

    server: ServerConfig = field(default_factory=ServerConfig)
    tls: TlsConfig = field(default_factory=TlsConfig)
    auth: AuthConfig = field(default_factory=AuthConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    backup: BackupConfig = field(default_factory=BackupConfig)
    embed: EmbedConfig = field(default_factory=EmbedConfig)
    documents: DocumentsConfig = field(default_factory=DocumentsConfig)
    answer: AnswerConfig = field(default_factory=AnswerConfig)
    log: LogConfig = field(default_factory=LogConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    traces: TracesConfig = field(default_factory=TracesConfig)

    def to_toml(self) -> str:
        """Return the settings as a TOML file, each with its meaning: what --print-config prints."""
        lines: list[str] = []
        for section in fields(self):
            lines.append(f"[{section.name}]")
            part = getattr(self, section.name)
            for item in fields(part):
                lines.append(f"# {item.metadata['doc']}{bounds(item)}")
                lines.append(f"{item.name} = {toml(getattr(part, item.name))}")
            lines.append("")
        return "\n".join(lines)


def load(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Config:
    """Return the configuration of a process.

    flags: ``section.key`` to value; None means not given. Raises InvalidArgument that names the
    source, the key, what was expected and what was got.
    """
    given: dict[str, dict[str, object]] = {section.name: {} for section in fields(Config)}
    if file is not None:
        for name, value, source in _from_file(file):
            _set(given, name, value, source)
    for name, value, source in _from_environment(environ):
        _set(given, name, value, source)
    for name, flag in flags.items():
        if flag is not None:
            _set(given, name, flag, "flag")
    sections = {
        one.name: one.default_factory(**given[one.name])  # type: ignore[operator]
        for one in fields(Config)
    }
    return Config(**sections)


def settings() -> dict[str, dataclasses.Field[Any]]:
    """Return every setting by its ``section.key`` name."""
    return {
        f"{section.name}.{item.name}": item
        for section in fields(Config)
        for item in fields(section.default_factory)  # type: ignore[arg-type]
    }


def _from_file(file: Path) -> list[tuple[str, object, str]]:
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"cannot read configuration {file}: {error}") from None
    found: list[tuple[str, object, str]] = []
    known = [section.name for section in fields(Config)]
    for section, part in tree.items():
        if not isinstance(part, dict):
            raise InvalidArgument(f"{file}: {section!r} stands outside a section")
        if not part and section not in known:
            raise _unknown(str(file), f"section {section!r}", section, known)
        found.extend((f"{section}.{key}", value, str(file)) for key, value in part.items())
    return found


# Kubernetes sets such names for every service of a namespace, one called "vecdb-server" included.
_KUBERNETES = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_.*)?)$")


def _from_environment(environ: Mapping[str, str]) -> list[tuple[str, object, str]]:
    found: list[tuple[str, object, str]] = []
    sections = {section.name for section in fields(Config)}
    for name, value in sorted(environ.items()):
        section, _, key = name.removeprefix("VECDB_").lower().partition("_")
        if not name.startswith("VECDB_") or section not in sections or _KUBERNETES.search(name):
            continue
        found.append((f"{section}.{key}", value, f"environment {name}"))
    return found


def _set(given: dict[str, dict[str, object]], name: str, value: object, source: str) -> None:
    known = settings()
    item = known.get(name)
    if item is None:
        raise _unknown(source, f"setting {name!r}", name, known)
    section, _, key = name.partition(".")
    given[section][key] = checked(name, item, value, source)


def _unknown(source: str, what: str, name: str, known: Iterable[str]) -> InvalidArgument:
    near = difflib.get_close_matches(name, list(known), n=3)
    return InvalidArgument(
        f"{source}: unknown {what}",
        hint=f"did you mean {', '.join(near)}?" if near else "see vecdb serve --print-config",
    )
