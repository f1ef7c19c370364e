"""Runs the step in its container: ``python -m steps.evaluate [arguments]``.

Reads the inputs ``model`` and ``prepared``, writes the output ``evaluation``. A closed gate ends
with exit code 0: the pipeline's condition step reads the figures and decides.
"""

from __future__ import annotations

import argparse
from typing import Any

from steps.contract import ProcessingPaths, run_step
from steps.evaluate.config import SHARES, EvaluationConfig, EvaluationPaths, parameter_name, share
from steps.publishing import publish


def parse(arguments: list[str] | None = None) -> EvaluationConfig:
    """The arguments as a config; a wrong one ends the process with exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m steps.evaluate", description=__doc__)
    defaults = EvaluationConfig()
    parser.add_argument("--model-package-group", default=defaults.model_package_group)
    for key in SHARES:
        parser.add_argument(
            f"--{key.replace('_', '-')}",
            type=_share,
            default=getattr(defaults, key),
            help=f"the pipeline parameter {parameter_name(key)}, 0 to 1",
        )
    parser.add_argument(
        "--max-lost-intents",
        type=_count,
        default=defaults.max_lost_intents,
        help="the pipeline parameter MaxLostIntents, 0 or more",
    )
    parser.add_argument("--seed", type=int, default=defaults.seed)
    return EvaluationConfig(**vars(parser.parse_args(arguments)))


def _share(text: str) -> float:
    try:
        return share(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1") from None


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def main() -> None:
    """Map the container's folders and arguments to the step's function."""
    config = parse()
    paths = ProcessingPaths()

    from steps.evaluate.evaluate import evaluate

    evaluation = evaluate(
        EvaluationPaths(paths.input("model"), paths.input("prepared"), paths.output("evaluation")),
        config,
    )
    for line in summary(evaluation):
        print(line, flush=True)
    publish(charted(evaluation))


def charted(evaluation: dict[str, Any]) -> dict[str, float | None]:
    """The figures that CloudWatch charts over time, and None of those that were not measured."""
    rival = evaluation["champion"] or {}
    figures = {
        "Accuracy": evaluation["figures"]["accuracy"],
        "OutOfScopeAuroc": evaluation["figures"]["out_of_scope_auroc"],
        "CalibrationError": evaluation["figures"]["expected_calibration_error"],
        "ChampionAccuracy": rival.get("accuracy"),
    }
    regression = evaluation["regression"]
    return {
        **{name: None if figure is None else figure["value"] for name, figure in figures.items()},
        "RegressionPassRate": None if regression is None else regression["pass_rate"],
    }


def summary(evaluation: dict[str, Any]) -> list[str]:
    """What a person reads in the job's log: the figures beside the baseline's, and the verdict."""
    figures, baseline = evaluation["figures"], evaluation["baseline"]
    rival = evaluation["champion"] or {}
    lines = [f"{'':28}{'model':>8}{'interval':>18}{'TF-IDF':>9}{'champion':>10}"]
    for key in ("accuracy", "macro_f1", "out_of_scope_auroc", "expected_calibration_error"):
        figure = figures[key]
        if figure is None:
            lines.append(f"{key:28}{'not measured':>26}")
            continue
        interval = f"[{figure['low']:.4f}, {figure['high']:.4f}]"
        beside = [(column.get(key) or {}).get("value") for column in (baseline, rival)]
        texts = ["-" if value is None else f"{value:.4f}" for value in beside]
        lines.append(f"{key:28}{figure['value']:>8.4f}{interval:>18}{texts[0]:>9}{texts[1]:>10}")
    found = evaluation["regression"]
    if found is not None:
        passed = found["cases"] - len(found["failures"])
        lines.append(f"regression set: {passed} of {found['cases']} cases pass")
        if found["champion"]:
            lines[-1] += f"; {len(found['champion']['lost'])} that the champion passed do not"
    state = "open" if evaluation["gate"]["passed"] else "closed"
    return [*lines, f"gate {state}: {evaluation['gate']['message']}"]


if __name__ == "__main__":
    run_step(main, ProcessingPaths().failure)
