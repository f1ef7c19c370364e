"""The lines that a job prints: for a person to read and for SageMaker's regexes to parse.

A terminal sees one line that is rewritten; a log gets one every few seconds::

    epoch=1/3 step=120/1407  train_loss=0.4213 learning_rate=0.000930  215 utterances/s  9 min left
    epoch=1/3  validation_accuracy=0.9612 validation_loss=0.2123 out_of_scope_auroc=0.9841

What it leaves out: sending figures anywhere (tracking.py).
"""

from __future__ import annotations

import sys
import time
from typing import TextIO

_TERMINAL_SECONDS, _LOG_SECONDS = 0.25, 5.0


class ProgressLine:
    """Shows where training stands; silent in all processes but the leading one."""

    def __init__(self, *, leads: bool, epochs: int, total_steps: int, out: TextIO | None = None):
        self._out = out if out is not None else sys.stdout
        self._leads, self._epochs, self._total = leads, epochs, total_steps
        self._terminal = self._out.isatty()
        self._every = _TERMINAL_SECONDS if self._terminal else _LOG_SECONDS
        self._started = self._shown = time.monotonic()
        self._first_step = 0
        self._utterances = 0
        self._width = 0

    def start(self, steps_done: int) -> None:
        """Begin to count time, after ``steps_done`` steps of an earlier run."""
        self._started, self._first_step = time.monotonic(), steps_done

    def due(self, utterances: int) -> bool:
        """Count a step's utterances; whether it is time for another line."""
        self._utterances += utterances
        return self._leads and time.monotonic() - self._shown >= self._every

    def show(self, *, epoch: int, step: int, loss: float, learning_rate: float) -> None:
        """Show the state after ``step`` optimizer steps of the whole job."""
        self._shown = time.monotonic()
        elapsed = max(self._shown - self._started, 1e-9)
        left = elapsed / max(step - self._first_step, 1) * (self._total - step)
        line = (
            f"epoch={epoch + 1}/{self._epochs} step={step}/{self._total}  "
            f"train_loss={loss:.4f} learning_rate={learning_rate:.6f}  "
            f"{self._utterances / elapsed:.0f} utterances/s  {duration(left)} left"
        )
        if self._terminal:
            self._out.write("\r" + line.ljust(self._width))
            self._width = len(line)
        else:
            self._out.write(line + "\n")
        self._out.flush()

    def figures(self, epoch: int, figures: dict[str, float]) -> None:
        """Show what an epoch came to, on a line of its own."""
        shown = " ".join(f"{name}={value:.4f}" for name, value in figures.items())
        self.say(f"epoch={epoch + 1}/{self._epochs}  {shown}")

    def say(self, sentence: str) -> None:
        """Print a sentence, below whatever line is being rewritten."""
        if not self._leads:
            return
        if self._width:
            self._out.write("\n")
            self._width = 0
        self._out.write(sentence + "\n")
        self._out.flush()


def duration(seconds: float) -> str:
    """``45 s``, ``1 min 20 s`` or ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
