"""What a call hears that finds the share of its kind taken, and who sees to it: the dispatcher."""

from __future__ import annotations

from typing import Any

import grpc

from vecdb.auth.call import REQUEST_ID, new_request_id
from vecdb.metrics import Metrics
from vecdb.rpc import dispatch, status
from vecdb.rpc.dispatch import Refusal, shared_by
from vecdb.rpc.forward import Behaviour
from vecdb.rpc.shares import Share

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


def sharing(
    behaviour: Behaviour, share: Share, labels: tuple[str, str, str], metrics: Metrics
) -> Behaviour:
    """Return a behaviour that is held to a share.

    labels: type, service and method, as metrics have them.
    """
    started = metrics.started.labels(*labels)
    refused = metrics.handled.labels(*labels, EXHAUSTED.name)

    def refusal() -> Refusal:
        started.inc()
        refused.inc()
        error = share.taken()
        metrics.count_error(error)
        details = status.encode_details(error)
        return str(error), ((status.DETAILS, details), (REQUEST_ID, new_request_id()))

    if dispatch.KNOWN:
        return shared_by(share, refusal)(behaviour)

    def work(request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ANN401
        if not share.take():
            text, trailer = refusal()
            context.set_trailing_metadata(trailer)
            context.abort(EXHAUSTED, text)
        try:
            return behaviour(request, context)
        finally:
            share.give_back()

    return work
