"""What *prepare* can be told, read and checked once.

It leaves out where things lie (:mod:`steps.contract`) and how arguments are spelled
(``__main__``).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Every setting of the step; a wrong one raises ValueError with key, value and rule."""

    base_model: str = "all-MiniLM-L6-v2"
    """Whose tokenizer is used: see :func:`steps.base_model.find_base_model`."""
    max_length: int = 64
    """Tokens kept of an utterance, special tokens included."""
    validation_share: float = 0.1
    """Of the rows that may be split, where the data publishes no validation split."""
    test_share: float = 0.15
    """Of the rows that may be split, where the data publishes no test split."""
    seed: int = 0
    """Changes which rows the hash puts in which split."""
    max_characters: int = 2000
    """A longer utterance goes to quarantine."""
    min_examples: int = 5
    """Examples to learn from that each intent needs, out_of_scope excepted."""
    max_conflict_share: float = 0.2
    """Of all rows: more with contradicting labels than this and the job fails."""

    def __post_init__(self) -> None:
        if not self.base_model.strip():
            raise ValueError("base_model is empty: give a folder or a model's name")
        for key, least in (("max_length", 4), ("max_characters", 1), ("min_examples", 1)):
            value = getattr(self, key)
            if value < least:
                raise ValueError(f"{key} is {value}: it must be at least {least}")
        for key in ("validation_share", "test_share", "max_conflict_share"):
            value = getattr(self, key)
            if not 0 <= value <= 1:
                raise ValueError(f"{key} is {value}: it must lie between 0 and 1")
        held_out = self.validation_share + self.test_share
        if held_out >= 1:
            raise ValueError(
                f"validation_share and test_share add up to {held_out:g}: "
                "below 1, or nothing is left to train on"
            )
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}: it must be a non-negative 63-bit integer")
