"""The training loop: steps, validation, early stopping, checkpoints, and a clean stop.

Its result depends on the configuration and the data alone. Every step draws its random numbers
(dropout) from a seed made of the job's seed, the step and the rank, so that a resumed job needs no
random state: it continues bit for bit. What it leaves out: what follows training (train.py).
"""

from __future__ import annotations

import hashlib
import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from steps.contract import StepError
from steps.intent_model import IntentModel
from steps.train.checkpoint import Checkpoint, CheckpointFolder
from steps.train.config import TrainingConfig
from steps.train.data import PreparedData, epoch_batches, join
from steps.train.group import Group
from steps.train.inference import Figures, figures_of, logits_of_rows
from steps.train.model import computing_in, trained_tensors
from steps.train.optimizer import make_optimizer, rate_share, set_learning_rates
from steps.train.progress import ProgressLine

OnEpoch = Callable[[int, int, Figures], None]
"""Called with epoch, optimizer steps so far and what the epoch came to."""


@dataclass(frozen=True)
class Outcome:
    """What training came to."""

    tensors: dict[str, Tensor]
    """The trained tensors with the best validation."""
    history: list[Figures]
    best_epoch: int
    steps: int


@dataclass
class _State:
    """Where training stands; with the tensors, all that a checkpoint needs."""

    epoch: int = 0
    batch: int = 0
    """Batches done in this epoch."""
    steps: int = 0
    loss_sum: float = 0.0
    """Over this epoch's utterances so far, in this process."""
    history: list[Figures] = field(default_factory=list)
    best_epoch: int = -1

    @property
    def stale(self) -> int:
        """Epochs since the best one."""
        return len(self.history) - 1 - self.best_epoch


class Loop:
    """Trains a model with its head in place.

    Args:
        model: On the group's device.
        data: Rows and intents.
        config: The hyperparameters.
        group: The processes that train together.
        dtype: The type to multiply matrices in.
        checkpoints: Where to keep checkpoints; None keeps none.
        on_epoch: Told what each epoch came to, in the leading process.
        teacher: Logits [training rows, intents] of a trained model to learn from beside the
            labels; None learns from the labels alone.
    """

    def __init__(
        self,
        model: IntentModel,
        data: PreparedData,
        config: TrainingConfig,
        group: Group,
        dtype: torch.dtype,
        checkpoints: CheckpointFolder | None = None,
        on_epoch: OnEpoch | None = None,
        teacher: Tensor | None = None,
    ) -> None:
        self._model, self._data, self._config = model, data, config
        self._group, self._dtype = group, dtype
        self._checkpoints, self._on_epoch, self._teacher = checkpoints, on_epoch, teacher
        self._trained = trained_tensors(model)
        self._parameters = list(self._trained.values())
        self._optimizer = make_optimizer(self._trained, config)
        self._average: dict[str, Tensor] = {}
        self._best: dict[str, Tensor] = {}
        self._validated = join(data.validation, data.out_of_scope)
        self._state = _State()
        steps_per_epoch = math.ceil(len(data.train) / config.batch_size)
        self._total = steps_per_epoch * config.epochs
        self.progress = ProgressLine(
            leads=group.leads, epochs=config.epochs, total_steps=self._total
        )
        self._stop_wanted = False
        self._loss = torch.zeros((), dtype=torch.float64, device=group.device)

    def run(self) -> Outcome:
        """Train to the end, from where :meth:`resume` took training up.

        Raises:
            StepError: The loss is not a number any more.
            SystemExit: SIGTERM arrived; a checkpoint was written.
        """
        state = self._state
        self.progress.start(state.steps)
        self._group.share_(value.data for value in self._parameters)
        if self._config.average_decay and not self._average:
            self._average = {k: v.detach().clone() for k, v in self._trained.items()}
        with self._stopping_softly():
            while state.epoch < self._config.epochs and not self._exhausted():
                self._train_epoch()
                self._save()  # before validating: a kill then costs no training
                self._finish_epoch()
        if self._stop_wanted:  # it came while validating, which the checkpoint does not need
            raise SystemExit(128 + signal.SIGTERM)
        if not self._best:  # nothing to validate on: the last weights are the ones
            self._best = self._candidate()
        return Outcome(self._best, state.history, state.best_epoch, state.steps)

    # --- one epoch --------------------------------------------------------------------------

    def _train_epoch(self) -> None:
        state, config = self._state, self._config
        rows = self._data.train
        batches = epoch_batches(rows.lengths, config.batch_size, config.seed, state.epoch)
        self._model.train()
        self._loss.fill_(state.loss_sum)
        shown, shown_utterances = state.loss_sum, 0
        for batch in batches[state.batch :]:
            self._step(batch)
            state.batch += 1
            state.steps += 1
            shown_utterances += len(batch[self._group.rank :: self._group.world])
            if self.progress.due(len(batch)):
                so_far = float(self._loss)
                self.progress.show(
                    epoch=state.epoch,
                    step=state.steps,
                    loss=(so_far - shown) / max(shown_utterances, 1),
                    learning_rate=self._learning_rate(),
                )
                shown, shown_utterances = so_far, 0
            if self._stop_wanted:
                self._stop()
            if state.steps % config.checkpoint_steps == 0 and state.batch < len(batches):
                self._save()
        state.loss_sum = float(self._loss)

    def _step(self, batch: NDArray[np.int64]) -> None:
        """One optimizer step on ``batch``, row numbers that all processes share among them."""
        config, group, device = self._config, self._group, self._group.device
        torch.manual_seed(_step_seed(config.seed, self._state.steps, group.rank))
        share = batch[group.rank :: group.world]
        for part in np.array_split(share, config.gradient_accumulation):
            if not len(part):
                continue
            ids, mask, labels = (tensor.to(device) for tensor in self._data.train.batch(part))
            with computing_in(self._dtype, device):
                embeddings = self._model.embed(ids, mask)
            logits = self._model.head(embeddings)  # float32: bf16 would blur logits of up to 20
            loss = self._loss_of(logits, labels, part)
            (loss / len(batch)).backward()
            self._loss += loss.detach()
        self._share_gradients()
        if config.clip_norm:
            nn.utils.clip_grad_norm_(self._parameters, config.clip_norm)
        set_learning_rates(self._optimizer, rate_share(self._state.steps, self._total, config))
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._update_average()

    def _loss_of(self, logits: Tensor, labels: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """Summed over the rows: by the labels and, where there is a teacher, by its answers."""
        config = self._config
        loss = nn.functional.cross_entropy(
            logits, labels, reduction="sum", label_smoothing=config.label_smoothing
        )
        if self._teacher is None:
            return loss
        softness = config.distillation_temperature
        answers = self._teacher[torch.from_numpy(rows)].to(logits.device)
        apart = nn.functional.kl_div(
            (logits / softness).log_softmax(-1),
            (answers / softness).log_softmax(-1),
            reduction="sum",
            log_target=True,
        )
        # its gradient shrinks with the square of the softness (Hinton et al. 2015)
        return (1 - config.distillation) * loss + config.distillation * softness**2 * apart

    def _share_gradients(self) -> None:
        """Add up all processes' gradients, and learn whether any of them was told to stop."""
        if self._group.world == 1:
            return
        for value in self._parameters:
            if value.grad is None:  # this process had no row of a short batch
                value.grad = torch.zeros_like(value)
        gradients = [value.grad for value in self._parameters if value.grad is not None]
        stop = gradients[0].new_full((1,), float(self._stop_wanted))
        flat = self._group.sum_(torch.cat([*(g.flatten() for g in gradients), stop]))
        parts = flat[:-1].split([g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        self._stop_wanted = bool(flat[-1] > 0)

    def _learning_rate(self) -> float:
        """The encoder's, of the step that was taken last."""
        share = rate_share(self._state.steps - 1, self._total, self._config)
        return self._config.encoder_learning_rate * share

    def _update_average(self) -> None:
        if not self._average:
            return
        steps = self._state.steps + 1
        decay = min(self._config.average_decay, (1 + steps) / (10 + steps))  # young: move faster
        with torch.no_grad():
            for name, value in self._trained.items():
                self._average[name].lerp_(value, 1 - decay)

    # --- validation -------------------------------------------------------------------------

    def _finish_epoch(self) -> None:
        state, group = self._state, self._group
        totals = torch.tensor([state.loss_sum], dtype=torch.float64, device=group.device)
        figures: Figures = {
            "epoch": state.epoch + 1,
            "train_loss": float(group.sum_(totals)) / len(self._data.train),
        }
        if not math.isfinite(figures["train_loss"]):
            raise StepError(
                f"The loss was no number any more in epoch {state.epoch + 1}: lower learning_rate "
                f"({self._config.encoder_learning_rate:g}) or head_learning_rate."
            )
        with self._averaged():
            figures |= self._validate()
        state.history.append(figures)
        if len(self._data.validation) and self._is_best(figures):
            state.best_epoch = state.epoch
            self._best = self._candidate()
        shown = {name: value for name, value in figures.items() if name != "epoch"}
        self.progress.figures(state.epoch, shown)
        if self._on_epoch is not None and group.leads:
            rate = {"learning_rate": self._learning_rate()}
            self._on_epoch(state.epoch, state.steps, shown | rate)
        state.epoch, state.batch, state.loss_sum = state.epoch + 1, 0, 0.0

    def _validate(self) -> Figures:
        logits = logits_of_rows(self._model, self._validated, self._group, self._dtype)
        count = len(self._data.validation)
        labels = torch.from_numpy(self._data.validation.labels)
        return figures_of(logits[:count], labels, logits[count:])

    def _is_best(self, figures: Figures) -> bool:
        """By loss: accuracy on a few hundred validation rows is too coarse to rank epochs."""
        if self._state.best_epoch < 0:
            return True
        best = self._state.history[self._state.best_epoch]
        return figures["validation_loss"] < best["validation_loss"]

    def _exhausted(self) -> bool:
        patience, validated = self._config.patience, len(self._data.validation) > 0
        if patience == 0 or not validated or self._state.stale < patience:
            return False
        self.progress.say(
            f"Stopped early: no better validation for {patience} epochs (patience); "
            f"keeping epoch {self._state.best_epoch + 1}."
        )
        return True

    def _candidate(self) -> dict[str, Tensor]:
        """A copy of the weights that are validated: the average if there is one."""
        source = self._average or self._trained
        return {name: value.detach().clone() for name, value in source.items()}

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The model with its averaged weights, inside this context."""
        if not self._average:
            yield
            return
        own = {name: value.detach().clone() for name, value in self._trained.items()}
        self._set(self._average)
        try:
            yield
        finally:
            self._set(own)

    @torch.no_grad()
    def _set(self, tensors: dict[str, Tensor]) -> None:
        for name, value in self._trained.items():
            value.copy_(tensors[name])

    # --- checkpoints ------------------------------------------------------------------------

    def _save(self) -> None:
        state, group = self._state, self._group
        loss = torch.tensor([float(self._loss)], dtype=torch.float64, device=group.device)
        group.sum_(loss)
        if self._checkpoints is None or not group.leads:
            return
        tensors: dict[str, Tensor] = {f"best/{k}": v for k, v in self._best.items()}
        tensors |= {f"average/{k}": v for k, v in self._average.items()}
        for name, value in self._trained.items():
            moments = self._optimizer.state[value]
            tensors[f"weights/{name}"] = value
            tensors[f"momentum/{name}"] = moments["exp_avg"]
            tensors[f"variance/{name}"] = moments["exp_avg_sq"]
        values: dict[str, Any] = {
            "epoch": state.epoch,
            "batch": state.batch,
            "loss_sum": float(loss),
            "history": state.history,
            "best_epoch": state.best_epoch,
        }
        self._checkpoints.save(Checkpoint(state.steps, tensors, values))

    def resume(self) -> int:
        """Take up the latest checkpoint, in every process.

        Returns:
            The optimizer steps that were done before; 0 where there is no checkpoint.

        Raises:
            StepError: There are checkpoints, but none that can be used.
        """
        found = self._checkpoints.latest() if self._checkpoints and self._group.leads else None
        about = None if found is None else (found.steps, found.state, sorted(found.tensors))
        about = self._group.share_object(about)
        if about is None:
            return 0
        steps, values, names = about
        self._state = _State(steps=steps, **values)
        if not self._group.leads:
            self._state.loss_sum = 0.0  # the leading process carries on the sum of all
        for name in names:
            kind, _, key = name.partition("/")
            target = torch.empty_like(self._trained[key]).detach()
            if found is not None:
                target.copy_(found.tensors[name])
            self._group.share_([target])
            self._put(kind, key, target)
        for value in self._parameters:
            self._optimizer.state[value]["step"] = torch.tensor(float(steps))
        self.progress.say(f"Resumed after step {steps} of {self._total}.")
        return steps

    def _put(self, kind: str, name: str, tensor: Tensor) -> None:
        if kind == "best":
            self._best[name] = tensor
        elif kind == "average":
            self._average[name] = tensor
        elif kind == "weights":
            self._trained[name].data.copy_(tensor)
        else:
            moment = {"momentum": "exp_avg", "variance": "exp_avg_sq"}[kind]
            self._optimizer.state[self._trained[name]][moment] = tensor

    # --- a clean stop -----------------------------------------------------------------------

    @contextmanager
    def _stopping_softly(self) -> Iterator[None]:
        """SIGTERM (a spot interruption, say) stops training after the step at hand."""

        def note(signum: int, frame: object) -> None:
            self._stop_wanted = True

        before = signal.signal(signal.SIGTERM, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _stop(self) -> None:
        self._save()
        self.progress.say(f"Stopped by SIGTERM after step {self._state.steps}.")
        raise SystemExit(128 + signal.SIGTERM)


def _step_seed(seed: int, step: int, rank: int) -> int:
    """A seed of its own for every step of every process; torch's take 63 bits."""
    digest = hashlib.sha256(f"{seed}/{step}/{rank}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
