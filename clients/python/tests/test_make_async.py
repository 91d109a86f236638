"""What makes the async modules: the committed are what it makes, and what it cannot it refuses."""

from __future__ import annotations

import ast

import pytest

from scripts import make_async

WIRE = """
class Channel:
    async def call(self, request): ...
    async def stream(self, request):
        yield request
    def close(self): ...

class Flights:
    async def __aenter__(self): ...
"""


def made(source: str, **others: str) -> str:
    sources = {"async_wire": WIRE, "wire": "", "a": source, **others}
    text = make_async.made(sources)["a"]
    ast.parse(text)
    return text.partition("\n")[2]


def test_what_is_committed_is_what_is_made():
    sources = {path.stem: path.read_text() for path in make_async.SOURCES.glob("*.py")}
    there = {path.stem: path.read_text() for path in (make_async.SOURCES / "aio").glob("*.py")}
    assert make_async.made(sources) == there, "run scripts/generate.sh"


def test_what_waits_is_found_up_to_the_callers():
    source = '''from vecdb_client.wire import Channel

class Client:
    """Threads may share it."""

    def one(self, request):  # ä: positions are bytes
        return self._channel.call(request).count["x"]

    def two(self):
        return [self.one(n) for n in (1, 2)], len("ä"), self.other()

    def other(self):
        self._channel.close()

    def every(self) -> Iterator[int]:
        yield from self._channel.stream(1)
        yield from range(3)

    def named(self) -> Iterator[int]:
        return self.every()

    def __enter__(self): ...

def use(client):
    for one in client.named():
        client.two()
    return [one for one in client.every() if one]
'''
    assert (
        made(source)
        == '''from vecdb_client.async_wire import Channel

class AsyncClient:
    """Tasks of one event loop may share it."""

    async def one(self, request):  # ä: positions are bytes
        return (await self._channel.call(request)).count["x"]

    async def two(self):
        return [await self.one(n) for n in (1, 2)], len("ä"), self.other()

    def other(self):
        self._channel.close()

    async def every(self) -> AsyncIterator[int]:
        async for one in self._channel.stream(1):
            yield one
        for one in range(3):
            yield one

    def named(self) -> AsyncIterator[int]:
        return self.every()

    async def __aenter__(self): ...

async def use(client):
    async for one in client.named():
        await client.two()
    return [one async for one in client.every() if one]
'''
    )


def test_classes_of_variables_and_functions_that_are_handed_on():
    source = """from collections.abc import Callable
from vecdb_client.wire import Channel

class Parts:
    def run(self, part: Callable[[int], bytes]) -> bytes:
        return part(1)

    def every(self) -> None:
        def part(n: int) -> bytes:
            return self._channel.call(n)

        self.run(part)

def use(line: Channel) -> None:
    work = Parts()
    work.every()
    line.call(1)
    other = dict()
    other.call(1)
"""
    text = made(source)
    assert "async def run(self, part: Callable[[int], Awaitable[bytes]]) -> bytes:" in text
    assert "return await part(1)" in text
    assert "async def part(n: int) -> bytes:" in text
    assert "    await work.every()\n    await line.call(1)\n" in text
    assert "    other.call(1)\n" in text
    assert text.startswith("from collections.abc import Awaitable, Callable\n")


def test_iterators_that_are_handed_on():
    text = made("""from collections.abc import Iterator
from vecdb_client.wire import Channel

class Sender:
    def requests(self) -> Iterator[int]:
        for one in self._channel.stream(1):
            yield one

def send(channel, requests: Iterator[int] | None) -> Iterator[int]:
    for one in channel.stream(requests):
        yield one

def run(channel) -> Iterator[int]:
    sender = Sender()
    return send(channel, sender.requests())
""")
    assert "async def send(channel, requests: AsyncIterator[int] | None) -> AsyncItera" in text
    assert "def run(channel) -> AsyncIterator[int]:" in text
    assert "async def run" not in text


def test_modules_that_do_not_wait_are_left_where_they_are():
    source = """from vecdb_client import a, b, c
from vecdb_client.b import do
from vecdb_client.wire import Flights

def run():
    with Flights[int](3), do():
        return b.do(1)
"""
    b = "from vecdb_client.wire import Channel\n\ndef do(channel):\n    channel.call(1)\n"
    text = made(source.replace(", do()", ""), b=b, c="")
    assert text.splitlines()[:4] == [
        "from vecdb_client import c",
        "from vecdb_client.aio import a, b",
        "from vecdb_client.aio.b import do",
        "from vecdb_client.async_wire import Flights",
    ]
    assert "    async with Flights[int](3):\n        return await b.do(1)" in text


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("return lambda: channel.call(1)", "in a lambda"),
        ("return list(channel.call(n) for n in (1, 2))", "generator expression"),
        ("return list(channel.stream(1))", "is for `for`"),
        ("flights = Flights(3)", "is for `with`"),
    ],
)
def test_what_it_cannot_write_is_refused(line, why):
    source = f"from vecdb_client.wire import Channel, Flights\n\ndef run(channel):\n    {line}\n"
    with pytest.raises(SystemExit, match=why):
        make_async.made({"async_wire": WIRE, "wire": "", "a": source})
