"""What transformers makes of the tiny CLIP of tiny_clip.py: recorded where torch is installed, by

python tests/embed/checkpoints_clip.py > tests/embed/recorded/clip.json
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.embed import tiny_clip

EVERY = 8
"""Of the pixels that the model sees, every so many are recorded, across and down."""


def reference() -> dict[str, object]:
    """Return the vectors and some of the pixels that transformers makes, by text and by image."""
    import torch
    from PIL import Image
    from tokenizers import Tokenizer
    from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    end = tiny_clip.vocabulary()[tiny_clip.END]
    sizes = {
        "hidden_size": tiny_clip.HIDDEN,
        "intermediate_size": tiny_clip.INNER,
        "num_hidden_layers": tiny_clip.LAYERS,
        "num_attention_heads": tiny_clip.HEADS,
    }
    config = CLIPConfig(
        text_config={
            **sizes,
            "vocab_size": len(tiny_clip.vocabulary()),
            "max_position_embeddings": tiny_clip.TOKENS,
            "bos_token_id": end - 1,
            "eos_token_id": end,
            "pad_token_id": end,
        },
        vision_config={**sizes, "image_size": tiny_clip.SIDE, "patch_size": tiny_clip.PATCH},
        projection_dim=tiny_clip.DIM,
    )
    model = CLIPModel(config).eval()
    state = {name: torch.from_numpy(array) for name, array in tiny_clip.weights().items()}
    found = model.load_state_dict(state, strict=False)
    assert found.missing_keys == ["logit_scale"], found
    assert not found.unexpected_keys, found
    tokens = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_buffer(tiny_clip.tokenizer()),
        eos_token=tiny_clip.END,
        pad_token=tiny_clip.END,
    )(
        list(tiny_clip.TEXTS),
        padding=True,
        truncation=True,
        max_length=tiny_clip.TOKENS,
        return_tensors="pt",
    )
    images = {name: Image.open(io.BytesIO(content)) for name, content in tiny_clip.images().items()}
    side = tiny_clip.SIDE
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )
    pixels = processor(list(images.values()), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        output = model(
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            pixel_values=pixels,
        )
    return {
        "texts": dict(zip(tiny_clip.TEXTS, _rounded(output.text_embeds), strict=True)),
        "images": dict(zip(images, _rounded(output.image_embeds), strict=True)),
        "pixels": dict(
            zip(images, _rounded(pixels[:, :, ::EVERY, ::EVERY].flatten(1)), strict=True)
        ),
    }


def _rounded(rows: object) -> list[list[float]]:
    array = np.asarray(rows, dtype=np.float64)
    return [[round(number, 6) for number in row] for row in array.tolist()]


if __name__ == "__main__":
    json.dump(reference(), sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
