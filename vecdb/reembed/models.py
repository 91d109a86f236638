"""The models of a space and its shadow: encoding for them, outside of any call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from vecdb.embed.client import Encoders, ModelInfo
from vecdb.embed.encoded import Encoded
from vecdb.embed.encoder import Role
from vecdb.errors import (
    DeadlineExceeded,
    DimensionMismatch,
    ModelMismatch,
    NoModel,
    NotFound,
    SchemaMismatch,
)
from vecdb.types import Space

TRIAL_TEXT = "text"


class SpaceModels:
    """Encodes for spaces by the models they are bound to, and gives up once it is closed."""

    def __init__(self, encoders: Encoders) -> None:
        self._encoders = encoders
        self._lock = threading.Lock()  # guards the two below
        self._closed = False
        self._under_way: set[Callable[[], None]] = set()

    def close(self) -> None:
        """Have calls under way fail, and those to come."""
        with self._lock:
            self._closed = True
            under_way = list(self._under_way)
        for cancel in under_way:
            cancel()

    def encode(self, space: Space, texts: Sequence[str], role: Role) -> Encoded:
        """Return the vectors of texts for a space; what has none is in `refused`.

        Raises NoModel and ModelMismatch where this server's is not the space's, and what
        Encoders.encode raises.
        """
        self.check(space)
        assert space.model is not None
        cancels: list[Callable[[], None]] = []

        def on_hangup(cancel: Callable[[], None]) -> bool:
            with self._lock:
                cancels.append(cancel)
                self._under_way.add(cancel)
                return not self._closed

        if self._closed:
            raise DeadlineExceeded("the server is stopping")
        try:
            return self._encoders.encode(
                space.model.name, texts, role, None, on_hangup, dim=space.dim
            )
        finally:
            with self._lock:
                self._under_way.difference_update(cancels)

    def check(self, space: Space) -> None:
        """Raise NoModel or ModelMismatch unless the model that a space is bound to is here."""
        if space.model is None:
            raise NoModel(
                f"space {space.name!r} has no model: its vectors were given as numbers",
                hint="there are no texts that another model could read",
            )
        name = space.model.name
        try:
            here = self._encoders.resolve(name).fingerprint
        except NotFound as error:
            raise NoModel(
                f"space {space.name!r} needs model {name}: {error.message}",
                hint="configure it with embed.models",
            ) from None
        if here != space.model.fingerprint:
            raise ModelMismatch(
                f"space {space.name!r} was filled by {name} {space.model.fingerprint[:12]}, this "
                f"server has {here[:12]}",
                expected=space.model.fingerprint,
                got=here,
            )

    def text_model(self, name: str, dim: int, space: Space) -> tuple[ModelInfo, int]:
        """Return the model that a space's texts can be moved to, and its dim.

        dim: 0 for its own. Raises NotFound, SchemaMismatch for one that makes no dense vectors of
        texts, DimensionMismatch, and what encoding a first text raises.
        """
        model = self._encoders.resolve(name)
        for makes, what in (
            (model.gives == "dense", f"dense vectors, but {model.gives}"),
            ("text" in model.takes, f"vectors of texts, but of {'/'.join(sorted(model.takes))}"),
        ):
            if not makes:
                raise SchemaMismatch(
                    f"model {model.name} makes no {what}: space {space.name!r} cannot be moved "
                    "to it",
                    field="start.model",
                    hint="Models.List says what models give and take",
                )
        if dim not in (0, model.dim, *model.dims):
            raise DimensionMismatch(
                f"model {model.name} makes "
                f"{' or '.join(map(str, sorted({model.dim, *model.dims})))} dimensions, got {dim}",
                field="start.dim",
                expected=model.dim,
                got=dim,
            )
        self._encoders.encode(model.name, [TRIAL_TEXT], Role.DOCUMENT, dim=dim)
        return model, dim or model.dim
