"""The model under training: a base model, an adapter on its linear layers, pooling and a head.

The base model's own weights are kept as they are and, once trained, the adapter is merged into a
fresh float32 copy of them, so that what ships is exact however the job computed. What it leaves
out: finding the base model's folder (steps/base_model.py) and what is written (record.py).
"""

from __future__ import annotations

import hashlib
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from steps.base_model import verify_bundled_model
from steps.contract import StepError
from steps.intent_model import IntentModel, Pooling
from steps.train.config import Precision, TrainingConfig


@dataclass(frozen=True)
class BaseModel:
    """A base model's folder, looked at but not loaded."""

    folder: Path
    config: Any
    """transformers' configuration."""
    tokenizer: Any
    """transformers' tokenizer, with a padding token."""
    tokenizer_sha256: str
    """Of ``tokenizer.json``, as *prepare* writes it to statistics.json."""
    pooling: Pooling

    def weights_sha256(self) -> str:
        """One sum over all weight files, by which a checkpoint knows its base model."""
        total = hashlib.sha256()
        for path in sorted(self.folder.glob("*.safetensors")):
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        return total.hexdigest()


def open_base_model(folder: Path, max_length: int) -> BaseModel:
    """Look at a base model and refuse what cannot be trained into a classifier.

    Raises:
        StepError: It is damaged, has no fast tokenizer, is an encoder-decoder or is shorter than
            ``max_length``.
    """
    from transformers import AutoConfig, AutoTokenizer

    verify_bundled_model(folder)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise StepError(
            f"The base model in {folder} cannot be read: {_first_line(error)}"
        ) from None
    tokenizer_file = folder / "tokenizer.json"
    if not tokenizer_file.is_file():
        raise StepError(
            f"The base model in {folder} has no tokenizer.json: save it with a fast tokenizer."
        )
    if config.is_encoder_decoder:
        raise StepError(
            f"The base model in {folder} is an encoder-decoder ({config.model_type}): choose an "
            "encoder such as BERT or a decoder such as Llama."
        )
    longest = getattr(config, "max_position_embeddings", None)
    if longest is not None and max_length > longest:
        raise StepError(
            f"The hyperparameter max_length is {max_length}, but the base model in {folder} takes "
            f"at most {longest} tokens: lower it."
        )
    if tokenizer.pad_token_id is None:  # decoders; padding is masked, so any token will do
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    return BaseModel(
        folder=folder,
        config=config,
        tokenizer=tokenizer,
        tokenizer_sha256=hashlib.sha256(tokenizer_file.read_bytes()).hexdigest(),
        pooling=_pooling_of(config.model_type),
    )


def _pooling_of(model_type: str) -> Pooling:
    """Encoders are averaged; a decoder has read the whole utterance only at its last token."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    decodes = model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    # encoders such as BERT stand in both lists
    return "last" if decodes and model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES else "mean"


def choose_precision(wanted: Precision, device: torch.device) -> torch.dtype:
    """The type that matrices are multiplied in: bf16 where it is native, else float32.

    Emulated bf16 (AVX-512 without its bf16 part, say) is slower than float32, so "supported" is
    not enough for ``auto``.
    """
    if wanted == "auto":
        native = _native_bf16_gpu() if device.type == "cuda" else _native_bf16_cpu()
        return torch.bfloat16 if native else torch.float32
    return torch.bfloat16 if wanted == "bf16" else torch.float32


def _native_bf16_cpu() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def _native_bf16_gpu() -> bool:
    return torch.cuda.is_bf16_supported(including_emulation=False)


def load_encoder(base: BaseModel, **options: Any) -> nn.Module:
    """The base model in float32 (unless ``options`` say otherwise), without what we do not use.

    Raises:
        StepError: There are no safetensors weights, or they do not fit the configuration.
    """
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # heads and poolers that we leave out are no news
    try:
        encoder = AutoModel.from_pretrained(
            base.folder,
            local_files_only=True,
            use_safetensors=True,
            **{"dtype": torch.float32, **options},
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise StepError(
            f"The weights of the base model in {base.folder} cannot be read: {_first_line(error)}"
        ) from None
    finally:
        logging.set_verbosity(verbosity)
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None  # never used: we pool ourselves
    encoder.config.use_cache = False  # of no use without generation
    return encoder


def build_model(
    base: BaseModel,
    config: TrainingConfig,
    intents: int,
    device: torch.device,
    dtype: torch.dtype,
) -> IntentModel:
    """The model to be trained, on ``device``, with a head of zeros (head.py starts it).

    Only what is trained requires a gradient, and is float32 whatever ``dtype`` says.
    """
    torch.manual_seed(config.seed)
    if config.fine_tuning == "full":
        encoder = load_encoder(base)
    elif config.fine_tuning == "qlora":
        encoder = _with_adapter(_load_4_bit(base, device), config)
    else:
        encoder = _with_adapter(load_encoder(base), config)
        if dtype != torch.float32:
            _spare_conversions(encoder, dtype)
    head = nn.Linear(base.config.get_text_config().hidden_size, intents)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return IntentModel(encoder, head, base.pooling).to(device)


def _with_adapter(encoder: nn.Module, config: TrainingConfig) -> nn.Module:
    from peft import LoraConfig, get_peft_model

    adapter = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,  # type: ignore[arg-type]  # a float works as well
        lora_dropout=config.lora_dropout,
        target_modules="all-linear",
        use_rslora=config.use_rslora,
        use_dora=config.use_dora,
    )
    with warnings.catch_warnings():  # peft's use of transformers is not ours to mend
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", "fan_in_fan_out is set")  # peft sets what it should
        return get_peft_model(encoder, adapter)  # type: ignore[arg-type]


def _spare_conversions(encoder: nn.Module, dtype: torch.dtype) -> None:
    """Store the adapted layers' own weights in the type that they are multiplied in.

    Otherwise autocast would convert all of them, and peft all inputs, anew in every step. DoRA
    needs their exact norm, so it keeps its float32.
    """
    from peft.tuners.lora import LoraLayer

    for layer in encoder.modules():
        if isinstance(layer, LoraLayer) and not any(layer.use_dora.values()):
            layer.cast_input_dtype_enabled = False  # autocast sees to it
            layer.get_base_layer().to(dtype)


def _load_4_bit(base: BaseModel, device: torch.device) -> nn.Module:
    if device.type != "cuda":
        raise StepError(
            "The hyperparameter fine_tuning is 'qlora', which needs a CUDA GPU, and there is none: "
            "choose lora, or a GPU instance type such as ml.g5.xlarge."
        )
    try:
        import bitsandbytes  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise StepError(
            "The hyperparameter fine_tuning is 'qlora', which needs the package bitsandbytes: "
            "install it in the training image, or choose lora."
        ) from None
    from peft import prepare_model_for_kbit_training
    from transformers import BitsAndBytesConfig

    four_bit = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    encoder = load_encoder(base, quantization_config=four_bit, device_map={"": device})
    return prepare_model_for_kbit_training(encoder, use_gradient_checkpointing=False)


def computing_in(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[Any]:
    """Multiply matrices in ``dtype`` inside this context."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def trained_tensors(model: IntentModel) -> dict[str, nn.Parameter]:
    """What training changes, by name and in a fixed order: adapter or all weights, and head."""
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


@dataclass(frozen=True)
class Adapter:
    """What peft needs to put the adapter on the base model again."""

    config: Any
    tensors: dict[str, Tensor]


def merged(
    base: BaseModel, config: TrainingConfig, tensors: dict[str, Tensor]
) -> tuple[IntentModel, Adapter | None]:
    """The plain float32 model on the CPU that ``tensors`` describe, and its adapter if any.

    Args:
        base: The base model that was trained.
        config: With the fine-tuning method.
        tensors: As :func:`trained_tensors` names them, on any device.
    """
    tensors = {name: value.detach().float().cpu() for name, value in tensors.items()}
    intents, hidden = tensors["head.weight"].shape
    encoder = load_encoder(base)
    adapter = None
    if config.fine_tuning == "full":
        model = _filled(IntentModel(encoder, nn.Linear(hidden, intents), base.pooling), tensors)
    else:
        from peft import get_peft_model_state_dict

        wrapped: Any = _with_adapter(encoder, config)
        model = _filled(IntentModel(wrapped, nn.Linear(hidden, intents), base.pooling), tensors)
        state = {k: v.clone() for k, v in get_peft_model_state_dict(wrapped).items()}
        adapter = Adapter(wrapped.peft_config["default"], state)
        model.encoder = wrapped.merge_and_unload()
    model.encoder.config.use_cache = getattr(base.config, "use_cache", True)  # type: ignore[union-attr]
    return model.eval(), adapter


def _filled(model: IntentModel, tensors: dict[str, Tensor]) -> IntentModel:
    unknown = model.load_state_dict(tensors, strict=False).unexpected_keys
    if unknown:
        raise RuntimeError(f"trained tensors that the model does not have: {unknown}")
    return model


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".") + "."
