"""Starts processes of an installed version: with its own interpreter and its own code only.

A child ends with its parent, also when that is killed: otherwise it would go on listening, and the
next supervisor could not. What it leaves out: what is started.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# PR_SET_PDEATHSIG is 1 (prctl(2)); the parent may be gone before it is set
_TIE = (
    "import os, signal, sys\n"
    "parent = int(sys.argv.pop(1))\n"
    "try:\n"
    "    import ctypes\n"
    "    ctypes.CDLL(None).prctl(1, signal.SIGKILL)\n"
    "except (ImportError, OSError, AttributeError):\n"
    "    pass\n"
    "if os.getppid() != parent:\n"
    "    os._exit(1)\n"
)
_MODULE = _TIE + "import runpy\nrunpy.run_module(sys.argv.pop(1), run_name='__main__')\n"


def start(
    version: Path,
    what: str | None,
    arguments: Sequence[str],
    *,
    python: str = sys.executable,
    code: str = "",
    fds: Sequence[int] = (),
    output: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a module of a version, or a few lines of code that use it.

    Args:
        version: The unpacked package.
        what: The module, or ``None`` for ``code``.
        arguments: Of the command line.
        python: The interpreter that the version was installed for.
        code: What to run instead of a module.
        fds: What it inherits.
        output: Where both of its outputs go; by default where this process's go.

    Raises:
        OSError: There is no such interpreter.
    """
    # -P: no code from the folder that it is started in. -B: what was signed stays as it is.
    command = [python, "-P", "-B", "-c", _TIE + code if what is None else _MODULE]
    command.append(str(os.getpid()))
    command += [what] if what is not None else []
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONHOME", "PYTHONSTARTUP"}}
    return subprocess.Popen(
        [*command, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        env={**environment, "PYTHONPATH": str(version), "PYTHONSAFEPATH": "1"},
        pass_fds=tuple(fds),
        start_new_session=True,
        cwd=version,
    )
