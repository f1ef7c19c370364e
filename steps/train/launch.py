"""Starts one training process a GPU (or as many as asked for) on every host, with torchrun.

SageMaker starts the container once on each host and describes the hosts in
``resourceconfig.json``. Where that comes to more than one process, the step starts itself again
through ``torch.distributed.run``, which is torchrun. Each process reports its failure in a file
of its own; the launcher passes on the first one as the job's.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from steps.contract import StepError, read_json

LOST = "Another training process ended first"
"""How the sentence begins of a process that fails only because another one did."""

_FAILURES_VARIABLE = "SLM_TRAIN_FAILURES"
_PORT = "29500"  # torchrun's own default; MASTER_PORT overrides it


@dataclass(frozen=True)
class Hosts:
    """The hosts of a training job, as this one sees them."""

    names: tuple[str, ...] = ("localhost",)
    current: str = "localhost"
    interface: str | None = None
    """The network interface that connects the hosts."""

    @property
    def rank(self) -> int:
        return self.names.index(self.current)


def read_hosts(path: Path) -> Hosts:
    """The hosts in SageMaker's resource config; one host where there is none.

    Raises:
        StepError: The file is not as SageMaker writes it.
    """
    if not path.exists():
        return Hosts()
    value = read_json(path, "The resource config of the training job")
    try:
        hosts = Hosts(
            tuple(sorted(value["hosts"])),
            value["current_host"],
            value.get("network_interface_name"),
        )
        if hosts.current not in hosts.names:
            raise KeyError("current_host among hosts")
    except (KeyError, TypeError, AttributeError) as error:
        raise StepError(f"{path} is not a resource config: it lacks {error}.") from None
    return hosts


def inside_group() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def failure_file(default: Path) -> Path:
    """Where this process reports a failure: one that torchrun started has a file of its own."""
    folder = os.environ.get(_FAILURES_VARIABLE)
    return Path(folder) / os.environ["LOCAL_RANK"] if folder and inside_group() else default


def processes_here(wanted: int) -> int:
    """Processes to start on this host: ``wanted``, or one a GPU, or one."""
    if wanted:
        return wanted
    import torch

    return max(torch.cuda.device_count(), 1)


def torchrun_arguments(hosts: Hosts, processes: int) -> list[str]:
    """The command line of torchrun that starts this step on this host."""
    arguments = [f"--nproc-per-node={processes}"]
    if len(hosts.names) == 1:
        arguments += ["--standalone"]
    else:
        port = os.environ.get("MASTER_PORT", _PORT)
        arguments += [
            f"--nnodes={len(hosts.names)}",
            f"--node-rank={hosts.rank}",
            f"--master-addr={hosts.names[0]}",
            f"--master-port={port}",
        ]
    return [*arguments, "--module", "steps.train"]


def run_group(hosts: Hosts, processes: int) -> None:
    """Run this step in ``processes`` processes on this host and wait for them.

    Raises:
        StepError: One of them failed; with the sentence that it reported.
        SystemExit: The job was stopped by SIGTERM.
    """
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # we report failures
    threads = max((os.cpu_count() or 1) // processes, 1)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    if hosts.interface and len(hosts.names) > 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", hosts.interface)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", hosts.interface)
    with tempfile.TemporaryDirectory(prefix="slm-train-") as failures:
        os.environ[_FAILURES_VARIABLE] = failures
        try:
            run.run(run.parse_args(torchrun_arguments(hosts, processes)))
        except ChildFailedError as error:
            exit_code = error.get_first_failure()[1].exitcode
            raise StepError(first_failure(Path(failures), exit_code)) from None
        except SignalException as error:
            raise SystemExit(128 + int(error.sigval)) from None


def first_failure(failures: Path, exit_code: int) -> str:
    """What the processes of this host reported: the cause rather than what followed from it."""
    reported = [path.read_text(encoding="utf-8").strip() for path in sorted(failures.iterdir())]
    reported.sort(key=lambda sentence: sentence.startswith(LOST))
    return (
        reported[0]
        if reported
        else f"A training process ended with {exit_code} and said nothing (-9: killed, as when "
        "memory runs out): see the log, or lower batch_size."
    )


def end_with_parent() -> None:
    """Have Linux kill this process when its launcher is killed, so that none trains on alone."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG
