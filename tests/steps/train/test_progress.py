"""What a job prints: readable, and parsed by the definition's regexes."""

from __future__ import annotations

import io
import re

from steps.train.progress import ProgressLine, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def line(out, leads=True):
    return ProgressLine(leads=leads, epochs=3, total_steps=300, out=out)


def test_a_log_gets_lines_that_a_person_and_a_regex_can_read():
    out = io.StringIO()
    progress = line(out)
    progress.start(0)
    progress.due(640)
    progress.show(epoch=0, step=20, loss=0.123456, learning_rate=0.00093)
    text = out.getvalue()
    assert text.startswith("epoch=1/3 step=20/300  train_loss=0.1235 learning_rate=0.000930  ")
    assert re.search(r"\d+ utterances/s  .* left\n$", text)


def test_a_terminal_gets_one_line_that_is_rewritten():
    out = Terminal()
    progress = line(out)
    progress.show(epoch=0, step=20, loss=1, learning_rate=0.1)
    progress.show(epoch=0, step=21, loss=1, learning_rate=0.1)
    assert out.getvalue().count("\r") == 2
    assert "\n" not in out.getvalue()
    progress.say("done")
    assert out.getvalue().endswith("\ndone\n")
    progress.say("again")
    assert out.getvalue().endswith("done\nagain\n")


def test_an_epochs_figures_stand_on_a_line_of_their_own():
    out = io.StringIO()
    line(out).figures(1, {"validation_accuracy": 0.96123, "validation_loss": 0.2})
    assert out.getvalue() == "epoch=2/3  validation_accuracy=0.9612 validation_loss=0.2000\n"


def test_only_the_leading_process_speaks():
    out = io.StringIO()
    progress = line(out, leads=False)
    progress.say("hello")
    assert not progress.due(1)
    assert out.getvalue() == ""


def test_a_line_is_due_only_every_few_seconds(monkeypatch):
    progress = line(io.StringIO())
    assert not progress.due(32)
    monkeypatch.setattr("time.monotonic", lambda: progress._shown + 6)
    assert progress.due(32)


def test_durations_are_rounded_to_what_matters():
    assert duration(44.6) == "45 s"
    assert duration(80) == "1 min 20 s"
    assert duration(7500) == "2 h 5 min"
