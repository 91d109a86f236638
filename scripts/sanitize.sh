#!/usr/bin/env bash
# Runs the kernel's tests over a build with AddressSanitizer and UndefinedBehaviorSanitizer.
# usage: scripts/sanitize.sh PYTHON
# All of them take turns: with VECDB_TURN=1/3, those run whose turn it is; see tests/conftest.py.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(realpath -s "$1")
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
"""Runs every other test with the sanitized tree in front of the installed package: from 0 or 1."""
import sys

sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in type(finder).__module__]
sys.path.insert(0, "build/sanitize/tree")
import vecdb.kernel._native as native  # noqa: E402

assert "sanitize" in native.__file__, native.__file__
import pytest  # noqa: E402


class Half:
    @pytest.hookimpl(wrapper=True)
    def pytest_collection_modifyitems(self, items):
        for item in items:
            item.add_marker("takes_turns")
        yield
        items[:] = items[int(sys.argv[1]) :: 2]


# Two build and emulate programs of their own, in which nothing is sanitized.
elsewhere = [f"--ignore=tests/kernel/test_{name}.py" for name in ("arm64", "baseline")]
sys.exit(pytest.main(["tests/kernel", "-q", "-p", "no:cacheprovider", *elsewhere], [Half()]))
EOF
half() {
  # Python's own allocations are never all freed at exit: leaks are not what is looked for.
  LD_PRELOAD="$(c++ -print-file-name=libasan.so):$(c++ -print-file-name=libstdc++.so.6)" \
    ASAN_OPTIONS=detect_leaks=0:halt_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
    "$python" "$build/run.py" "$1"
}
# Two processes, as xdist's own would not have the tree: minutes less.
half 0 &
first=$!
trap 'kill "$first" 2>/dev/null || true' EXIT
half 1
wait "$first"
