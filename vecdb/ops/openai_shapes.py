"""What OpenAI's embeddings API says, read and written: requests, replies, errors. Knows no HTTP.

It has no roles, which our models do. Here a request may have ``input_type``: "query", or
"document" (also "passage"), which is the default; or its model's name ends in ``:query`` or
``:document``, for clients that can set no more than a name.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vecdb.embed.client import ModelInfo
from vecdb.embed.encoded import Encoded
from vecdb.embed.encoder import Role
from vecdb.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    Overloaded,
    PermissionDenied,
    QuotaExceeded,
    Unauthenticated,
    Unavailable,
    VecdbError,
)

_FIELDS = ("model", "input", "encoding_format", "dimensions", "input_type", "user")
_ROLES = {"query": Role.QUERY, "document": Role.DOCUMENT, "passage": Role.DOCUMENT}
_TOKENS = (
    "input is tokens, which are of one model's vocabulary: send text (with LangChain, "
    "check_embedding_ctx_length=False)"
)
_STATUS: dict[type[VecdbError], int] = {
    InvalidArgument: 400,
    FailedPrecondition: 400,
    NotFound: 404,
    Unauthenticated: 401,
    PermissionDenied: 403,
    Overloaded: 429,
    QuotaExceeded: 429,
    Unavailable: 503,
    DeadlineExceeded: 504,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it was sent. role: None where it names none. dim: 0 where it names none."""

    model: str
    texts: list[str]
    alone: bool
    role: Role | None
    dim: int
    as_base64: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer that is an error. headers: what goes with it."""

    status: int
    body: bytes
    headers: dict[str, str]


def read_request(body: bytes, texts_max: int) -> Asked:
    """Return what a request asks. Raises InvalidArgument that names the field."""
    try:
        tree = json.loads(body.decode())
    except (ValueError, RecursionError) as error:  # Unicode's and JSON's errors are the first
        raise InvalidArgument(f"the body is not JSON in UTF-8: {error}") from None
    if not isinstance(tree, dict):
        raise InvalidArgument("the body is not a JSON object")
    for name in tree:
        if name not in _FIELDS:
            # One that is misspelt would be obeyed by nobody.
            raise InvalidArgument(
                f"unknown field {name[:100]!r}, known are {', '.join(_FIELDS)}", field=name[:100]
            )
    model = tree.get("model")
    if not isinstance(model, str):
        raise InvalidArgument("model is to be a name, as GET /v1/models has them", field="model")
    texts, alone = _texts(tree.get("input"), texts_max)
    return Asked(
        model=model,
        texts=texts,
        alone=alone,
        role=_one_of(tree, "input_type", _ROLES),
        dim=_dimensions(tree.get("dimensions")),
        as_base64=bool(_one_of(tree, "encoding_format", {"float": 0, "base64": 1})),
    )


def resolved(asked: Asked, resolve: Callable[[str], ModelInfo]) -> tuple[ModelInfo, Role]:
    """Return the model of a request and the role of its texts.

    Raises NotFound, and InvalidArgument for a model that makes no dense vectors of text, or two
    roles.
    """
    role = asked.role
    try:
        model = resolve(asked.model)
    except NotFound:
        name, _, end = asked.model.rpartition(":")
        if not name or end not in _ROLES:
            raise
        model = resolve(name)
        if role not in (None, _ROLES[end]):
            raise InvalidArgument(
                f"input_type does not go with the model's name, which ends in :{end}",
                field="input_type",
            ) from None
        role = _ROLES[end]
    if not is_embedding(model):
        raise InvalidArgument(
            f"model {model.name} takes {' and '.join(sorted(model.takes))} and gives "
            f"{model.gives}: it makes no dense vectors of text",
            field="model",
        )
    return model, role or Role.DOCUMENT


def is_embedding(model: ModelInfo) -> bool:
    """Return whether a model makes dense vectors of text."""
    return model.gives == "dense" and "text" in model.takes


def write_reply(asked: Asked, model: str, encoded: Encoded) -> bytes:
    """Return the reply to a request."""
    parts = []
    for row, vector in enumerate(encoded.vectors):
        item: dict[str, Any] = {"object": "embedding", "index": row}
        if asked.as_base64:
            item["embedding"] = base64.b64encode(vector.astype("<f4").tobytes()).decode()
        else:
            item["embedding"] = vector.astype(np.float64).tolist()
        if encoded.truncated[row]:
            item["truncated"] = True
        # One by one, so that a long reply is not written in one go that nobody can interrupt.
        parts.append(json.dumps(item, separators=(",", ":")))
    tokens = sum(encoded.tokens)
    rest = json.dumps({"prompt_tokens": tokens, "total_tokens": tokens})
    return (
        f'{{"object":"list","data":[{",".join(parts)}],"model":{json.dumps(model)},"usage":{rest}}}'
    ).encode()


def write_models(models: Iterable[ModelInfo], created: int) -> bytes:
    """Return the reply to who asks what models there are."""
    found = [_model(model, created) for model in models if is_embedding(model)]
    return json.dumps({"object": "list", "data": found}).encode()


def write_model(model: ModelInfo, created: int) -> bytes:
    """Return the reply to who asks for one model."""
    return json.dumps(_model(model, created)).encode()


def write_error(status: int, message: str, param: str | None = None, code: str = "") -> bytes:
    """Return an error as OpenAI's clients read it."""
    if status == 429:
        kind = "rate_limit_error"
    else:
        kind = "server_error" if status >= 500 else "invalid_request_error"
    error = {"message": message, "type": kind, "param": param, "code": code or None}
    return json.dumps({"error": error}).encode()


def failure(error: VecdbError, *, alone: bool = False) -> Failure:
    """Return the answer that an error is. alone: whether the input was one text, not a list."""
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
    message, param = str(error), error.field
    if param.startswith("texts["):  # as it is called inside
        param = "input" if alone else f"input{param.removeprefix('texts')}"
        message = message.replace(error.field, param, 1)
    code = "model_not_found" if isinstance(error, NotFound) else error.reason.lower()
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    return Failure(status, write_error(status, message, param or None, code), headers)


def _texts(given: object, most: int) -> tuple[list[str], bool]:
    """Return the texts, and whether it was one that is not in a list."""
    if isinstance(given, str):
        return [given], True
    if not isinstance(given, list):
        raise InvalidArgument("input is to be a text or a list of texts", field="input")
    if len(given) > most and not isinstance(given[0], int):
        raise LimitExceeded(
            f"input has {len(given)} texts, the limit is {most}",
            field="input",
            hint="send several requests, or raise limits.embed_texts",
        )
    for at, one in enumerate(given):
        if not isinstance(one, str):
            tokens = isinstance(one, list | int)
            raise InvalidArgument(_TOKENS if tokens else f"input[{at}] is no text", field="input")
    if not given:
        raise InvalidArgument("input is an empty list", field="input")
    return given, False


def _one_of(tree: dict[str, Any], name: str, known: dict[str, Any]) -> Any:  # noqa: ANN401
    given = tree.get(name)
    if given is None:
        return None
    if not isinstance(given, str) or given not in known:
        raise InvalidArgument(f"{name} is to be one of {', '.join(known)}", field=name)
    return known[given]


def _dimensions(given: object) -> int:
    if given is None:
        return 0
    if type(given) is not int or given < 1:
        raise InvalidArgument("dimensions is to be a positive integer", field="dimensions")
    return given


def _model(model: ModelInfo, created: int) -> dict[str, object]:
    return {"id": model.name, "object": "model", "created": created, "owned_by": "vecdb"}
