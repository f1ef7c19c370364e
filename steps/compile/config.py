"""What *compile* is told: its folders and its arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from steps.compile.neo import NeoConfig
from steps.compile.parity import Bounds


@dataclass(frozen=True)
class CompilePaths:
    """Where the step reads and writes."""

    model: Path
    """A folder with ``model.tar.gz``, or an unpacked model folder."""
    prepared: Path
    evaluation: Path
    registration: Path
    output: Path
    """Where the *compiled* folder goes."""


@dataclass(frozen=True)
class CompileConfig:
    """The step's arguments."""

    bounds: Bounds = field(default_factory=Bounds)
    neo: NeoConfig = field(default_factory=NeoConfig)
    max_early_exit_change: float = 0.001
    """Share of answers that may change so that clear utterances leave early; 0: none does."""
