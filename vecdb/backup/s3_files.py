"""Files of a repository in a bucket that speaks S3. The only file that knows obstore.

Who we are there says the environment (AWS_ACCESS_KEY_ID and so on, AWS_ENDPOINT_URL for another
service than Amazon's), a web identity token or the machine's role; nothing of it is in a URL.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from vecdb.backup.files import PIECE_BYTES
from vecdb.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable, VecdbError

SCHEME = "s3://"
RETRIES, RETRY_S = 5, 60
"""How often a request is tried again, and for how long: a service that is away is told soon."""


class S3Files:
    """Files of a bucket, below a prefix."""

    def __init__(self, url: str) -> None:
        """Take a URL such as ``s3://bucket/prefix``. Raises InvalidArgument."""
        parts = urlsplit(url)
        if parts.username is not None or parts.query or parts.fragment or not parts.hostname:
            raise InvalidArgument(
                "expected s3://bucket/prefix, without credentials",
                hint="credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            )
        try:
            from obstore.store import S3Store
        except ImportError:
            raise FailedPrecondition(
                "backups to S3 need the package obstore", hint="pip install 'vecdb[s3]'"
            ) from None
        self.where = url
        prefix = parts.path.strip("/")
        options: Any = {"prefix": prefix} if prefix else {}
        with _told(url):
            self._store = S3Store(
                parts.hostname,
                client_options=_client_options(),
                retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_S)},
                **options,
            )

    def listed(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield names and sizes."""
        with _told(self.where):
            for page in self._store.list(prefix):
                for one in page:
                    yield one["path"], one["size"]

    def put(self, name: str, pieces: Iterable[bytes]) -> None:
        """Upload a file, in parts where it is large; it is there when all of it is."""
        failed: list[VecdbError] = []

        def sent() -> Iterator[bytes]:
            try:
                yield from pieces
            except VecdbError as error:  # which would come back as another one
                failed.append(error)
                raise

        try:
            with _told(self.where):
                self._store.put(name, sent())
        except VecdbError:
            if failed:
                raise failed[0] from None
            raise

    def read(self, name: str) -> Iterator[bytes]:
        """Yield a file in pieces."""
        with _told(f"{self.where}/{name}"):
            for piece in self._store.get(name).stream(min_chunk_size=PIECE_BYTES):
                yield bytes(piece)

    def delete(self, name: str) -> None:
        """Remove a file."""
        with _told(self.where):
            self._store.delete(name)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock nothing: a bucket has no locks. One server backs up to a prefix."""
        yield


def _client_options() -> Any:  # noqa: ANN401 - a dict of obstore's own type
    plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    return {"allow_http": True} if plain else {}


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Raise what a person can use of an error of the service, which names no secret."""
    from obstore import exceptions

    try:
        yield
    except (exceptions.NotFoundError, FileNotFoundError):
        raise NotFound(f"{where} is not there") from None
    except VecdbError:
        raise
    except exceptions.BaseError as error:
        if "NoSuchBucket" in str(error):
            raise NotFound(f"{where}: there is no such bucket", hint="make it first") from None
        raise Unavailable(
            f"{where} cannot be used: {type(error).__name__}",
            hint="look at the bucket's name, AWS_ENDPOINT_URL, AWS_REGION and the credentials",
            retry_after_s=30.0,
        ) from None
