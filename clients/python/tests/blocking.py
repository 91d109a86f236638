"""AsyncClient as a sync one, so that one set of tests holds for both.

Every call runs on an event loop in a thread of its own, and its caller waits.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from vecdb_client import AsyncClient


class Loop:
    """An event loop in a thread."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def run(self, call: Callable, *arguments, **named):
        """Return what a call gives, made on the loop and awaited where it asks for that."""

        async def on_loop():
            found = call(*arguments, **named)
            return await found if isinstance(found, Awaitable) else found

        return asyncio.run_coroutine_threadsafe(on_loop(), self.loop).result()

    def close(self):
        async def left():
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.get_running_loop().shutdown_asyncgens()

        asyncio.run_coroutine_threadsafe(left(), self.loop).result(30)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(30)
        self.loop.close()


class Blocking:
    """Any object of the async client: calls wait, iterators iterate, objects are wrapped."""

    def __init__(self, of, loop: Loop):
        vars(self).update(_of=of, _loop=loop)

    def __getattr__(self, name):
        return self._wrapped(getattr(self._of, name))

    def __setattr__(self, name, value):
        setattr(self._of, name, value)

    def __repr__(self):
        return repr(self._of)

    def __len__(self):
        return len(self._of)

    def _wrapped(self, found):
        if isinstance(found, list):
            return [self._wrapped(one) for one in found]
        if isinstance(found, AsyncIterator):
            return self._iterate(found)
        if inspect.ismethod(found):
            return lambda *given, **named: self._wrapped(self._loop.run(found, *given, **named))
        if type(found).__module__.startswith(("vecdb_client.aio", "vecdb_client.async_wire")):
            return Blocking(found, self._loop)
        return found

    def _iterate(self, found: AsyncIterator) -> Iterator:
        try:
            while True:
                try:
                    yield self._loop.run(found.__anext__)
                except StopAsyncIteration:
                    return
        finally:
            self._loop.run(found.aclose)


class BlockingClient(Blocking):
    """AsyncClient(...), with a loop of its own, which `end` ends."""

    def __init__(self, *arguments, **named):
        super().__init__(AsyncClient(*arguments, **named), Loop())

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._loop.run(self._of.__aexit__, *error)

    def end(self):
        self._loop.run(self._of.close)
        self._loop.close()
