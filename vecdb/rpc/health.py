"""The standard health service, grpc.health.v1: asked once, or watched.

Not grpcio-health-checking's own: it sends to those who watch, and waits until that is sent, under
the lock that the end of any other watch takes in gRPC's one thread, which is the one that tells
what was sent. Two clients that come and go end the server so.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from vecdb.errors import Overloaded

WORKER, WORKERS = "vecdb-worker", "vecdb-workers"

State = health_pb2.HealthCheckResponse.ServingStatus


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it has no types
    """The state of each service; of a worker, each answer says which it is, of how many.

    Trailers: `vecdb-worker`, a name that no other process has, and `vecdb-workers`, how many listen
    here. With them a client knows whether its connections reach them all.

    watches_max: watches at once, each of which holds a thread; more are refused.
    """

    def __init__(self, *, is_worker: bool, workers: int, watches_max: int) -> None:
        self._trailer = ((WORKER, uuid.uuid4().hex[:12]), (WORKERS, str(workers)))
        self._is_worker = is_worker
        self._watches_max = watches_max
        self._changed = threading.Condition()  # guards the three below; nothing is sent under it
        self._states: dict[str, int] = {}
        self._watches = 0
        self._stopping = False

    def set(self, service: str, *, serving: bool) -> None:
        """Say whether a service serves; once it stops, nothing does."""
        with self._changed:
            serves = serving and not self._stopping
            self._states[service] = State.SERVING if serves else State.NOT_SERVING
            self._changed.notify_all()

    def stop(self) -> None:
        """Say from now on that nothing serves. Watches end with that."""
        with self._changed:
            self._stopping = True
            self._states = dict.fromkeys(self._states, State.NOT_SERVING)
            self._changed.notify_all()

    def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """Return the state of a service."""
        if self._is_worker:
            context.set_trailing_metadata(self._trailer)
        with self._changed:
            state = self._states.get(request.service)
        if state is None:
            context.set_code(grpc.StatusCode.NOT_FOUND)
            context.set_details("no service of that name is here")
        return health_pb2.HealthCheckResponse(status=state)

    def List(
        self, request: health_pb2.HealthListRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthListResponse:
        """Return the state of every service."""
        with self._changed:
            states = dict(self._states)
        found = {name: health_pb2.HealthCheckResponse(status=one) for name, one in states.items()}
        return health_pb2.HealthListResponse(statuses=found)

    def Watch(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> Iterator[health_pb2.HealthCheckResponse]:
        """Yield the state of a service now, and whenever it has changed."""
        with self._changed:
            refused = self._watches >= self._watches_max
            self._watches += not refused
        if refused:
            raise Overloaded(
                f"{self._watches_max} watches are open already",
                hint="ask again later, or use Check",
                retry_after_s=1.0,
            )
        try:
            yield from self._states_of(request.service, context)
        finally:
            with self._changed:
                self._watches -= 1

    def _states_of(
        self, service: str, context: grpc.ServicerContext
    ) -> Iterator[health_pb2.HealthCheckResponse]:
        if not context.add_callback(self._wake):
            return  # over before it began
        sent: int | None = None
        while True:
            with self._changed:
                while self._state_of(service) == sent and context.is_active():
                    self._changed.wait()
                sent, is_last = self._state_of(service), self._stopping
            if not context.is_active():
                return
            yield health_pb2.HealthCheckResponse(status=sent)
            if is_last:
                return

    def _state_of(self, service: str) -> int:
        state: int = self._states.get(service, State.SERVICE_UNKNOWN)
        return state

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
