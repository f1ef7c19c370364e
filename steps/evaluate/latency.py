"""How long the trained model takes for one utterance, and how large it is.

PyTorch eager on one thread, from text to logits: what the compiled model is compared with. What
the device will take is measured by *compile*, with the code that runs there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SAMPLE = 100
"""Utterances that are timed."""
_WARM_UP = 10


def measure(
    predict: Callable[[list[str]], object], texts: Sequence[str], seed: int
) -> dict[str, Any]:
    """Median and 95th percentile, in milliseconds, of one utterance at a time on one thread."""
    import torch

    draw = np.random.default_rng(seed)
    chosen: list[int] = draw.choice(len(texts), min(SAMPLE, len(texts)), replace=False).tolist()
    sample = [texts[row] for row in chosen]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for text in sample[:_WARM_UP]:
            predict([text])
        taken = [_milliseconds(predict, text) for text in sample]
    finally:
        torch.set_num_threads(threads)
    return {
        "runtime": "PyTorch eager",
        "threads": 1,
        "utterances": len(sample),
        "median_ms": float(np.median(taken)),
        "p95_ms": float(np.percentile(taken, 95)),
    }


def _milliseconds(predict: Callable[[list[str]], object], text: str) -> float:
    started = time.perf_counter()
    predict([text])
    return (time.perf_counter() - started) * 1000


def model_bytes(folder: Path) -> int:
    """Bytes of what inference needs of a model folder: encoder, head and tokenizer."""
    files = [folder / "head.safetensors"]
    files += [path for part in ("encoder", "tokenizer") for path in (folder / part).rglob("*")]
    return sum(path.stat().st_size for path in files if path.is_file())
