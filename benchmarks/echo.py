"""The floor under a call: a bare grpcio sync server that answers with as many bytes as it is asked.

    python benchmarks/echo.py THREADS

Prints its port, serves on loopback until its standard input ends. A request begins with the number
of reply bytes (u32, little-endian); what follows only makes it as long as a real one. Bytes in,
bytes out: no message is parsed or made, no option is set.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc

SERVICE = "vecdb.bench.Echo"
METHOD = "Call"
PATH = f"/{SERVICE}/{METHOD}"
_LENGTH = struct.Struct("<I")

Echo = Callable[[bytes], bytes]


def request_of(request_bytes: int, reply_bytes: int) -> bytes:
    """Return a request of that size that asks for a reply of that size."""
    return _LENGTH.pack(reply_bytes).ljust(request_bytes, b"\1")


@contextmanager
def echo_server(threads: int) -> Iterator[Echo]:
    """Run the server in a process of its own; yield a function that calls it."""
    with (
        echo_process(threads) as address,
        grpc.insecure_channel(address) as channel,
    ):
        yield channel.unary_unary(PATH)


@contextmanager
def echo_process(threads: int) -> Iterator[str]:
    """Run the server in a process of its own; yield its address."""
    command = [sys.executable, str(Path(__file__).resolve()), str(threads)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield f"127.0.0.1:{port}"
    finally:
        # Closes its standard input, which is its sign to end.
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answer(request: bytes, context: grpc.ServicerContext) -> bytes:
    return bytes(_LENGTH.unpack_from(request)[0])


def main() -> int:
    """Serve until standard input ends."""
    server = grpc.server(ThreadPoolExecutor(int(sys.argv[1])))
    handler = grpc.unary_unary_rpc_method_handler(_answer)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),)
    )
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    sys.stdin.buffer.read()
    server.stop(0).wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
