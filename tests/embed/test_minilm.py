"""all-MiniLM-L6-v2 from both its packages: a graph in int8, and weights in single precision."""

import numpy as np
import pytest

from tests.embed.test_bert_text import vectors
from vecdb.embed import catalog
from vecdb.embed.encoder import Execution, Role
from vecdb.embed.residents import load_model

TEXTS = (
    "How do I reset my password?",
    "An invoice was sent twice, and the customer asks for a refund of the second payment.",
    "The recipe needs two eggs and a cup of flour.",
    "A vector database stores embeddings and finds the nearest ones.",
    "The aerodynamic heating of a slender body at high speed was measured in a wind tunnel.",
    "She read the letter twice, folded it, and put it back into the drawer.",
    "Rain is expected in the north, with strong winds along the coast.",
    "The function returns a sorted copy of the list and leaves the original as it is.",
)


@pytest.fixture(scope="module")
def models():
    entries = catalog.load_catalog()
    specs = [entries[name] for name in ("all-minilm-l6-v2", "all-minilm-l6-v2-fp32")]
    for spec in specs:
        if reason := catalog.missing(spec):
            pytest.skip(reason)
    return [load_model(spec, Execution(2)) for spec in specs]


def test_both_packages_agree(models):
    """Within 1e-3 of cosine: what weights in int8 cost of sentences in English."""
    int8, single = (vectors(model, TEXTS) for model in models)
    away = 1 - (int8 * single).sum(axis=1)
    assert away.max() < 1e-3
    # Rows of other texts are further away than that, by far.
    assert (int8 @ single.T)[~np.eye(len(TEXTS), dtype=bool)].max() < 0.5


def test_they_read_texts_alike(models):
    texts = [*TEXTS, "数据库存储向量。", "word " * 300]
    for one, other in zip(*(model.prepare(texts, Role.DOCUMENT) for model in models), strict=True):
        assert one.input.tolist() == other.input.tolist()
        assert one.truncated == other.truncated
