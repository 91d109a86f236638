#!/usr/bin/env bash
# Generates every copy of the protocol's Python code from proto/, and the client's async modules from the
# sync ones. CI runs it and diffs.
#
# The tools live in a virtual environment of their own: this grpcio-tools writes code that protobuf
# 6.33 and 7 both accept, but it could not be installed beside protobuf 7 itself.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=build/generate-venv
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import grpc_tools' 2>/dev/null; then
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install -q grpcio-tools==1.78.0 setuptools
fi

generate() { # generate PROTO_PACKAGE_DIR OUT_DIR [--no-grpc]
  local package=$1 out=$2 work grpc=()
  work=$(mktemp -d)
  [ "${3:-}" = --no-grpc ] || grpc=(--grpc_python_out="$work")
  "$venv/bin/python" -m grpc_tools.protoc -Iproto --python_out="$work" --pyi_out="$work" \
    "${grpc[@]}" proto/"$package"/*.proto
  mkdir -p "$out"
  find "$out" -name '*_pb2*' -delete
  mv "$work/$package"/*.py "$work/$package"/*.pyi "$out"/
  rm -rf "$work"
  # A service file without messages of its own needs no _grpc module.
  find "$out" -name '*_pb2_grpc.py' ! -exec grep -q 'Servicer_to_server' {} \; -delete
  # protoc writes imports from the root of proto/; the copies live inside Python packages.
  local dotted=${package//\//.}
  sed -i -E "s/^from ${dotted//./\\.} import /from . import /" "$out"/*.py "$out"/*.pyi
  echo '"""Generated from proto/ by scripts/generate.sh. Do not edit."""' >"$out/__init__.py"
}

generate vecdb/v1 vecdb/rpc/pb
generate vecdb/v1 clients/python/src/vecdb_client/pb
generate vecdb/log/v1 vecdb/storage/pb --no-grpc
generate vecdb/worker/v1 vecdb/embed/pb

# The client's async modules, from the sync ones.
"$venv/bin/python" scripts/make_async.py
