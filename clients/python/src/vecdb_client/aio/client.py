# Made from client.py by scripts/make_async.py. Do not edit.
"""The client: a connection to a server, its collections, its models, its health."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Final, Self

from vecdb_client import health, replies, requests
from vecdb_client.aio.backups import Backups
from vecdb_client.aio.collection import AsyncCollection
from vecdb_client.descriptions import CollectionInfo, Truncated
from vecdb_client.aio.documents import AsyncDocuments
from vecdb_client.errors import (
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from vecdb_client.health import Health
from vecdb_client.aio.keys import Keys
from vecdb_client.aio.models import Models
from vecdb_client.multi import MultiDenseSpace
from vecdb_client.node_status import Limit, NodeStatus, limits, node_status
from vecdb_client.payloads import Payload
from vecdb_client.protocol import (
    CLONE,
    CREATE,
    DELETE_COLLECTION,
    LIMITS,
    LIST_ALIASES,
    LIST_COLLECTIONS,
    SET_ALIASES,
    STATUS,
    TRUNCATE,
    UPDATE_COLLECTION,
)
from vecdb_client.retry import RETRIES, Retries
from vecdb_client.target import ApiKey, Target, Tls
from vecdb_client.aio.transport import Transport
from vecdb_client.types import Metric, Space, SparseSpace, TextField

MESSAGE_BYTES_DEFAULT: Final = 64 << 20
MESSAGE_BYTES_MIN: Final = 64 << 10
_HEALTH_EVERY_S: Final = 0.05


class AsyncClient(Models, Backups, Keys):
    """The way to one server. Tasks of one event loop may share it; a context manager.

    One connection, or one to each worker of a server that has several: see connections.py.

    address: ``host:port`` or ``unix:/path``. Nothing is sent until the first call.
    api_key: goes with every call: a key, a Path of the file that holds it (read again once it
    changed), or what returns the one to use now, which must not block.
    tls: True trusts whom the system trusts; a Tls says more; without, calls are in plain text.
    insecure: send the key in plain text to another machine all the same, which is refused else.
    timeout_s: the deadline of calls that name none, retries included.
    retries: how calls that are safe to repeat are tried again; NO_RETRIES for never.
    message_bytes: the largest request to send; the server's `limits.message_bytes`, or less.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:6363",
        *,
        api_key: ApiKey | None = None,
        tls: Tls | bool = False,
        insecure: bool = False,
        timeout_s: float = 30.0,
        retries: Retries = RETRIES,
        message_bytes: int = MESSAGE_BYTES_DEFAULT,
    ) -> None:
        if message_bytes < MESSAGE_BYTES_MIN:
            raise InvalidArgument(f"message_bytes is at least {MESSAGE_BYTES_MIN:,}")
        self._message_bytes = message_bytes
        target = Target(address, api_key=api_key, tls=tls, insecure=insecure)
        self._transport = Transport(target, timeout_s=timeout_s, retries=retries)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self._transport.address!r})"

    async def close(self) -> None:
        """Close the connection. Calls under way raise Cancelled; closing twice is fine."""
        await self._transport.close()

    async def health(self, service: str = "", *, timeout_s: float | None = None) -> Health:
        """Return what the server's health service says, such as SERVING or NOT_SERVING.

        service: a full name such as ``vecdb.v1.Search``; "" for the server. Asks once.
        Raises Unavailable when nobody answers, NotFound for a service that is not known.
        """
        limit = self._transport.timeout_s if timeout_s is None else timeout_s
        request = health.check_request(service)
        return health.check_reply(await self._transport.call_raw(health.CHECK, request, timeout_s=limit))

    async def status(self, *, collections: int = 100, timeout_s: float | None = None) -> NodeStatus:
        """Return how the node is: its processes, sizes, and what ails it, with advice.

        collections: told of one by one, at most 1,000. Raises InvalidArgument.
        """
        request = STATUS.request(collections=collections)
        return node_status(await self._transport.call(STATUS, request, timeout_s=timeout_s))

    async def limits(self, *, timeout_s: float | None = None) -> dict[str, Limit]:
        """Return the most that requests to this node may ask, by name; such as "batch_items"."""
        return limits(await self._transport.call(LIMITS, LIMITS.request(), timeout_s=timeout_s))

    async def wait_ready(self, timeout_s: float = 30.0, *, service: str = "") -> None:
        """Return when the server is SERVING. Raises DeadlineExceeded that says what it was last."""
        deadline = time.monotonic() + timeout_s
        request = health.check_request(service)
        last: object = "no answer"
        while (remaining := deadline - time.monotonic()) > 0:
            try:
                state = health.check_reply(
                    await self._transport.call_raw(
                        health.CHECK, request, timeout_s=remaining, wait_for_ready=True
                    )
                )
                if state == "SERVING":
                    return
                last = state
            except (Unavailable, NotFound) as error:  # NotFound: not registered yet
                last = error
            except DeadlineExceeded:
                break
            await self._transport.wait(min(_HEALTH_EVERY_S, max(0.0, deadline - time.monotonic())))
        raise DeadlineExceeded(
            f"{self._transport.address} is not ready after {timeout_s:g} s: {last}"
        )

    def documents(self, name: str) -> AsyncDocuments:
        """Return the documents of a collection, by the collection's name. Calls nobody."""
        return AsyncDocuments(self._transport, name)

    def collection(self, name: str) -> AsyncCollection:
        """Return a handle to a collection. Calls nobody; `info()` tells whether it is there."""
        return AsyncCollection(self._transport, name, self._message_bytes)

    async def create_collection(
        self,
        name: str,
        *,
        dim: int | None = None,
        metric: Metric | None = None,
        model: str | None = None,
        spaces: Mapping[str, Space | SparseSpace | MultiDenseSpace] | None = None,
        text_fields: Iterable[TextField] = (),
        metadata: Payload | None = None,
        ttl_s: float | None = None,
        points_max: int | None = None,
        if_not_exists: bool = False,
        timeout_s: float | None = None,
    ) -> AsyncCollection:
        """Return a handle to a new collection.

        dim, metric: of the default space; None takes the model's own, cosine without a model.
        model: a name of list_models(), which then encodes the texts of writes and searches.
        spaces: several spaces by name, in place of these three.
        text_fields: payload paths whose words search(keyword=...) finds; with them alone, the
        collection has no space.
        metadata: a JSON object of your own, which info() gives back.
        ttl_s: seconds that points are there which are put without an expiry of their own.
        points_max: a put of one more point is refused (COLLECTION_FULL); None for no limit.
        if_not_exists: an existing collection of the same schema is as good.

        Raises AlreadyExists, FailedPrecondition (SCHEMA_MISMATCH, NO_MODEL), InvalidArgument. With
        if_not_exists it is tried again after UNAVAILABLE; without, the outcome would be unclear.
        """
        request = requests.create_request(
            name,
            dim=dim,
            metric=metric,
            model=model,
            spaces=spaces,
            text_fields=text_fields,
            metadata=metadata,
            ttl_s=ttl_s,
            points_max=points_max,
            if_not_exists=if_not_exists,
        )
        await self._transport.call(CREATE, request, timeout_s=timeout_s, retry=if_not_exists)
        return self.collection(name)

    async def list_collections(
        self, *, with_metadata: bool = True, timeout_s: float | None = None
    ) -> list[CollectionInfo]:
        """Return all collections, by name.

        Raises InvalidArgument (LIMIT_EXCEEDED) where their metadata does not fit a message.
        """
        request = LIST_COLLECTIONS.request(without_metadata=not with_metadata)
        reply = await self._transport.call(LIST_COLLECTIONS, request, timeout_s=timeout_s)
        return [replies.collection_info(message) for message in reply.collections]

    async def update_collection(
        self,
        name: str,
        *,
        metadata: Payload | None = None,
        points_max: int | None = None,
        spaces: Mapping[str, Space | SparseSpace] | None = None,
        ttl_s: float | None = None,
        add_spaces: Mapping[str, Space | SparseSpace] | None = None,
        drop_spaces: Iterable[str] = (),
        add_text_fields: Iterable[TextField] = (),
        drop_text_fields: Iterable[str] = (),
        timeout_s: float | None = None,
    ) -> CollectionInfo:
        """Return a collection's description once it was changed: all that is asked, or nothing.

        metadata: in place of all there is; {} for none, None leaves it. points_max: likewise, 0 for
        no limit. spaces: by name, such as
        ``{"": Space(target_recall=0.99)}``; what is None stays, and target_recall is all that can
        be changed, of a SparseSpace its idf. ttl_s: of points that are put from now on; math.inf
        for ever, None leaves it.

        drop_spaces, drop_text_fields: by name and by path; gone for every call that begins
        afterwards. add_spaces: empty at first, filled by upserts and patches. add_text_fields:
        indexed in the background; until ``stats().text_pending_points`` is 0, searches by their
        words say that they are not complete. What is in both is dropped, and begins anew.

        Raises NotFound, AlreadyExists for what is there, InvalidArgument, FailedPrecondition
        (SCHEMA_MISMATCH, NO_MODEL). Is not tried again after UNAVAILABLE.
        """
        request = requests.update_request(
            name,
            metadata,
            spaces or {},
            ttl_s,
            points_max=points_max,
            add_spaces=add_spaces,
            drop_spaces=drop_spaces,
            add_text_fields=add_text_fields,
            drop_text_fields=drop_text_fields,
        )
        reply = await self._transport.call(UPDATE_COLLECTION, request, timeout_s=timeout_s, retry=False)
        return replies.collection_info(reply.collection)

    async def truncate_collection(self, name: str, *, timeout_s: float | None = None) -> Truncated:
        """Return how many points a collection had: they are removed, all at once.

        Schema, metadata and aliases stay. Raises NotFound. Is not tried again after UNAVAILABLE:
        others may have written since.
        """
        request = TRUNCATE.request(name=requests.checked_text(name, "a collection's name"))
        reply = await self._transport.call(TRUNCATE, request, timeout_s=timeout_s, retry=False)
        return Truncated(reply.points, reply.commit_seq)

    async def clone_collection(
        self, name: str, new_name: str, *, timeout_s: float | None = None
    ) -> AsyncCollection:
        """Return a handle to a new collection with all that another holds now, but its aliases.

        Others may write meanwhile. timeout_s: of the copy, which takes as long as the disk does;
        what is not done by then is given up. Raises NotFound, AlreadyExists, and ResourceExhausted
        where the disk has no room. Is not tried again after UNAVAILABLE: it may have been done.
        """
        request = CLONE.request(
            name=requests.checked_text(name, "a collection's name"),
            new_name=requests.checked_text(new_name, "a collection's name"),
        )
        await self._transport.call(CLONE, request, timeout_s=timeout_s, retry=False)
        return self.collection(new_name)

    async def set_aliases(
        self, aliases: Mapping[str, str | None], *, timeout_s: float | None = None
    ) -> None:
        """Have aliases stand for collections, created or moved; None deletes one. All, or none.

        Calls that begin afterwards see all of it. An alias is as good as the name of its
        collection, but for delete_collection. Raises NotFound, AlreadyExists for the name of a
        collection. Is not tried again after UNAVAILABLE: others may have moved them since.
        """
        request = requests.aliases_request(aliases)
        await self._transport.call(SET_ALIASES, request, timeout_s=timeout_s, retry=False)

    async def list_aliases(
        self, collection: str = "", *, timeout_s: float | None = None
    ) -> dict[str, str]:
        """Return aliases and the collections that they stand for: all, or those of one."""
        named = requests.checked_text(collection, "a collection's name")
        request = LIST_ALIASES.request(collection=named)
        reply = await self._transport.call(LIST_ALIASES, request, timeout_s=timeout_s)
        return {one.alias: one.collection for one in reply.aliases}

    async def delete_collection(
        self, name: str, *, if_exists: bool = False, timeout_s: float | None = None
    ) -> bool:
        """Return whether there was one: deletes a collection and everything in it.

        Raises FailedPrecondition for an alias, and for a collection that has some: they are moved
        or deleted first. Raises NotFound, unless if_exists; with it the call is also tried again
        after UNAVAILABLE, and False may then mean that an earlier attempt did it.
        """
        requests.checked_text(name, "a collection's name")
        request = DELETE_COLLECTION.request(name=name, if_exists=if_exists)
        return (await self._transport.call(
            DELETE_COLLECTION, request, timeout_s=timeout_s, retry=if_exists
        )).deleted
