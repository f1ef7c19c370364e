"""Runs step *train* in a SageMaker training container: ``python -m steps.train``.

Reads ``hyperparameters.json`` and ``resourceconfig.json``, the channels ``prepared`` and,
optionally, ``base-model``; leaves the model in ``/opt/ml/model`` and checkpoints in
``/opt/ml/checkpoints``. With several hosts, GPUs or ``processes_per_host`` it starts itself again
through torchrun (launch.py).
"""

from __future__ import annotations

import argparse

from steps.contract import TrainingPaths, run_step
from steps.train.config import read_config
from steps.train.launch import (
    end_with_parent,
    failure_file,
    inside_group,
    processes_here,
    read_hosts,
    run_group,
)


def main() -> None:
    """Train alone, as one of a group, or start that group."""
    paths = TrainingPaths()
    config = read_config(paths.hyperparameters)
    if inside_group():
        end_with_parent()
    else:
        hosts = read_hosts(paths.resource_config)
        processes = processes_here(config.processes_per_host)
        if processes * len(hosts.names) > 1:
            run_group(hosts, processes)
            return
    from steps.train.group import joined
    from steps.train.train import TrainingFolders, train

    folders = TrainingFolders(
        prepared=paths.channel("prepared"),
        model=paths.model,
        base_model=paths.channel("base-model"),
        checkpoints=paths.checkpoints,
    )
    with joined() as group:
        train(config, folders, group)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m steps.train", description=__doc__)
    parser.add_argument("command", nargs="?", choices=["train"], help="what SageMaker appends")
    parser.parse_args()
    run_step(main, failure_file(TrainingPaths().failure))
