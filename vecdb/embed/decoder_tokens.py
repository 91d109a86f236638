"""What a decoder reads of a text: its first and last token, and which tokens are the prompt's.

The vector of such a model is that of one token, or a mean over some; a tokenizer file that forgets
the end token, as those of several of these models do, gives another vector without a word. So the
entry names both tokens, and what the file says of them is not asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vecdb.embed.catalog import ModelSpec
from vecdb.embed.encoder import I64, Prepared, Role
from vecdb.embed.text_tokens import TextTokens
from vecdb.errors import FailedPrecondition


@dataclass(frozen=True, slots=True)
class Prompted:
    """The ids of a text, (t,) int64, of which the first `prompt` are read and not pooled."""

    ids: I64
    prompt: int

    def __len__(self) -> int:
        return len(self.ids)


class DecoderTokens:
    """The reading half of a decoder.

    vocabulary: how many ids its model knows. Raises Corrupt when its file is not the catalogue's,
    FailedPrecondition when file, model and entry do not go together.
    """

    def __init__(self, spec: ModelSpec, path: Path, vocabulary: int) -> None:
        begin, end = spec.options.get("begin_id"), spec.options.get("end_id")
        if spec.pooling == "last" and end is None:
            raise FailedPrecondition(
                f"model {spec.name}: its vector is that of the last token, and which token that is "
                "must be said",
                hint=f"set end_id below [models.{spec.name}.options]",
            )
        around = (() if begin is None else (begin,)), (() if end is None else (end,))
        self._tokens = TextTokens(spec, path, around=around)
        highest = max(self._tokens.tokenizer.get_vocab().values())
        if highest >= vocabulary:
            raise FailedPrecondition(
                f"model {spec.name}: {path} has ids up to {highest}, the model knows {vocabulary}"
            )
        texts = self._tokens.tokenizer
        # Special tokens in front count as the prompt's, those behind as the text's.
        prompts = {
            role: len(texts.encode(prompt).ids) - len(around[1])
            for role, prompt in (
                (Role.QUERY, spec.query_prompt),
                (Role.DOCUMENT, spec.document_prompt),
            )
        }
        longest = max(prompts.values()) + len(around[1])
        if longest >= spec.max_tokens:
            raise FailedPrecondition(
                f"model {spec.name}: a prompt alone is {longest} tokens, max_tokens is "
                f"{spec.max_tokens}"
            )
        self._apart = {} if spec.options.get("prompt_pooled", True) else prompts
        if end is not None:
            self._check_end(spec, end)

    def prepare(self, texts: Sequence[str], role: Role) -> list[Prepared]:
        """Return what the model reads of each text, the role's prompt in front, cut to max_tokens.

        Of a text without a token of its own nothing, where the prompt's are not pooled.
        """
        prepared = self._tokens.prepare(texts, role)
        prompt = self._apart.get(role)
        if prompt is None:
            return prepared
        return [
            Prepared(Prompted(ids if len(ids) > prompt else ids[:0], prompt), truncated)
            for ids, truncated in prepared
        ]

    def _check_end(self, spec: ModelSpec, end: int) -> None:
        """Raise FailedPrecondition unless every text ends with its end token, cut or not."""
        for role in Role:
            for ids, truncated in self._tokens.prepare(["a", "a " * spec.max_tokens], role):
                if ids[-1] != end:
                    raise FailedPrecondition(
                        f"model {spec.name}: a {role.name.lower()}{', cut,' if truncated else ''} "
                        f"ends with the token {ids[-1]}, expected {end}"
                    )
