#!/usr/bin/env bash
# Runs the kernel's tests over a build with AddressSanitizer and UndefinedBehaviorSanitizer.
# usage: scripts/sanitize.sh PYTHON [PARTS]
# PARTS: run only one test in so many, chosen by the commit: the next commits have the others' turn.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(realpath -s "$1")
parts=${2:-1}
unset VECDB_TURN # these have turns of their own
part=$((16#$(git rev-parse HEAD | cut -c1-8) % parts))
build=build/sanitize
"$python" -m pip install -q --disable-pip-version-check cmake ninja nanobind
PATH="$(dirname "$python"):$PATH"
cmake -S . -B "$build/cmake" -G Ninja -DPython_EXECUTABLE="$python" \
  -DCMAKE_BUILD_TYPE=RelWithDebInfo -DVECDB_SANITIZE=address,undefined >/dev/null
cmake --build "$build/cmake"
# A tree of its own, so that this build cannot be mistaken for the installed one.
rm -rf "$build/tree" && mkdir -p "$build/tree"
cp -r vecdb "$build/tree/vecdb"
cp "$build"/cmake/_native*.so "$build/tree/vecdb/kernel/"
cat >"$build/run.py" <<'EOF'
"""Runs a half, 0 or 1, of a part of the tests, with the sanitized tree before the installed one.

usage: run.py HALF PART PARTS
"""
import sys
import zlib

sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in type(finder).__module__]
sys.path.insert(0, "build/sanitize/tree")
import vecdb.kernel._native as native  # noqa: E402

assert "sanitize" in native.__file__, native.__file__
import pytest  # noqa: E402


half, part, parts = map(int, sys.argv[1:])


class Chosen:
    def pytest_collection_modifyitems(self, items):
        # By name: every other instruction set would be left out by counting.
        items[:] = [one for one in items if zlib.crc32(one.nodeid.encode()) % parts == part]
        items[:] = items[half::2]


# Two build and emulate programs of their own, in which nothing is sanitized.
elsewhere = [f"--ignore=tests/kernel/test_{name}.py" for name in ("arm64", "baseline")]
sys.exit(pytest.main(["tests/kernel", "-q", "-p", "no:cacheprovider", *elsewhere], [Chosen()]))
EOF
half() {
  # Python's own allocations are never all freed at exit: leaks are not what is looked for.
  LD_PRELOAD="$(c++ -print-file-name=libasan.so):$(c++ -print-file-name=libstdc++.so.6)" \
    ASAN_OPTIONS=detect_leaks=0:halt_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
    "$python" "$build/run.py" "$1" "$part" "$parts"
}
# Two processes, as xdist's own would not have the tree: minutes less.
echo "part $part of $parts"
half 0 &
first=$!
trap 'kill "$first" 2>/dev/null || true' EXIT
half 1
wait "$first"
