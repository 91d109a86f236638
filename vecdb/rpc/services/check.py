"""Check on the wire: what does not hold together in collections that are in use."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from vecdb.check.elsewhere import CheckProcess, Progress
from vecdb.check.walk import Report
from vecdb.database import Database
from vecdb.errors import NotFound
from vecdb.rpc.pb import backup_pb2 as pb


def check(
    database: Database, request: pb.CheckRequest, context: grpc.ServicerContext
) -> Iterator[pb.CheckResponse | None]:
    """Yield progress and findings, collection after collection; None while nothing is new."""
    asked = [database.info(name).name for name in request.collections]
    names = list(dict.fromkeys(asked)) or [info.name for info in database.infos()]
    process = CheckProcess()
    try:
        for name in names:
            try:
                folder, entry = database.copies.located(name)
            except NotFound:
                if request.collections:
                    raise
                continue  # dropped since the check began
            for found in process.check(folder, name, entry.schema, context.is_active):
                if isinstance(found, Progress):
                    far = pb.CheckProgress(
                        collection=name, done_points=found.done, points=found.points
                    )
                    yield pb.CheckResponse(progress=far)
                elif isinstance(found, Report):
                    if not folder.exists():  # dropped, or truncated, meanwhile
                        found.findings.clear()
                    yield from _found(found)
                else:
                    yield None
    finally:
        process.close()


def _found(report: Report) -> Iterator[pb.CheckResponse]:
    for finding in report.findings:
        yield pb.CheckResponse(finding=pb.CheckFinding(collection=report.name, text=finding))
    yield pb.CheckResponse(
        checked=pb.CheckedCollection(
            collection=report.name, points=report.points, findings=len(report.findings)
        )
    )
