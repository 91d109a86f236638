#!/usr/bin/env bash
# Makes what deploy/Containerfile makes, without a container engine: Debian's root, the packages,
# slimmed and compiled; says how large it is, and runs it as a container would: another user, no
# rights, a root that is read-only. Usage: image_size.sh PYTHON, which must be of Debian's version.
# Needs root, debootstrap, a package index and a C++ compiler; takes some minutes.
set -euo pipefail
python=$1
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
cd "$here"

debootstrap --variant=minbase --include=python3,ca-certificates bookworm "$root" >"$work/log"
# As Debian's slim images are without these.
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* \
  "$root"/usr/share/{doc,info,lintian,locale,man}
HNSWLIB_NO_NATIVE=1 LDFLAGS=-Wl,-s "$python" -m pip wheel -q --disable-pip-version-check \
  --no-cache-dir --wheel-dir "$work/wheels" ./clients/python '.[embed,documents]'
"$python" -m pip install -q --disable-pip-version-check --no-index --find-links "$work/wheels" \
  --no-compile --target "$root/opt/vecdb" 'vecdb[embed,documents]'
mkdir "$root/data"
"$python" deploy/slim.py "$root/opt/vecdb"
chroot "$root" env -u PYTHONDONTWRITEBYTECODE PYTHONPATH=/opt/vecdb python3 -P -c \
  "import vecdb.cli, vecdb.embed.worker, vecdb.node, vecdb.rpc.probe, vecdb.supervisor"
find "$root" -xdev -type f -printf '%s\n' | awk '{n += $1} END {printf "%.0f MB in all\n", n / 1e6}'

cat >"$work/inside.sh" <<'INSIDE'
set -eu
vecdb="python3 -P -m vecdb"
touch /opt/written 2>/dev/null && { echo "the root is not read-only"; exit 1; }
echo "user $(id -u), rights $(grep CapBnd /proc/self/status)"
$vecdb serve 2>/data/log &
server=$!
until $vecdb health --service vecdb.v1.Models 2>/data/asked; do
  kill -0 $server || { cat /data/log; exit 1; }
  sleep 1
done
printf '# Sand\n\nNoble houses fight over a desert planet.\n' >/tmp/dune.md
$vecdb ingest /tmp/dune.md -c books >/dev/null
$vecdb search -c books spaceships --json >/data/found
grep -q dune /data/found
kill -TERM $server
wait $server
echo "served, searched and drained"
INSIDE
# shellcheck disable=SC2016
unshare --mount --pid --fork sh -euc '
  mount --bind "$1" "$1"
  mount -t proc proc "$1/proc"
  mount --rbind /dev "$1/dev"
  mount -t tmpfs -o mode=1777 tmp "$1/tmp"
  mount -t tmpfs -o mode=700,uid=65532 data "$1/data"
  mount -o remount,bind,ro "$1"
  exec chroot "$1" setpriv --reuid 65532 --regid 65532 --clear-groups --bounding-set=-all \
    --no-new-privs env -i PATH=/usr/bin:/bin PYTHONPATH=/opt/vecdb PYTHONDONTWRITEBYTECODE=1 \
    VECDB_SERVER_DATA=/data VECDB_SERVER_LISTEN=127.0.0.1:6363 VECDB_SERVER_METRICS= \
    sh -c "$2"
' sh "$root" "$(cat "$work/inside.sh")"
