"""A new version takes over while questions are answered; a bad one is sent away again."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from edge.updates.state import Root
from tests.edge.packages import Device, new_key
from tests.edge.updates.serving import (
    Crowd,
    CutOffError,
    Supervised,
    ask,
    install,
    slm_edge,
    wait_for,
)


def served(device: Device, version: str = "1.0.1", **behaviour: object) -> Supervised:
    """A device on which ``version`` serves and is confirmed."""
    assert install(device, device.package(version, **behaviour)).returncode == 0
    supervised = Supervised(device)
    supervised.settles(version)
    return supervised


def test_a_new_version_takes_over_and_nobody_is_refused(device: Device) -> None:
    with served(device) as supervised, Crowd(device) as crowd:
        wait_for(lambda: len(crowd.versions) > 20)
        assert install(device, device.package("1.0.2")).returncode == 0
        supervised.settles("1.0.2")
        wait_for(lambda: crowd.versions[-1] == "1.0.2")
    assert (crowd.refused, crowd.cut, crowd.wrong) == (0, 0, [])
    assert set(crowd.versions) == {"1.0.1", "1.0.2"}
    assert device.state()["previous"] == "1.0.1"


def test_what_was_accepted_before_the_swap_is_answered(device: Device) -> None:
    with served(device, answer_seconds=1.0) as supervised, Crowd(device) as crowd:
        time.sleep(0.2)
        assert install(device, device.package("1.0.2")).returncode == 0
        supervised.settles("1.0.2")
    assert (crowd.refused, crowd.cut, crowd.wrong) == (0, 0, [])


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ({"ready": False}, "The model does not fit."),
        ({"ready": "silent"}, "It ended with 3 and did not say why."),
        ({"ready": "nonsense"}, "What it said before it was ready is not what a worker says."),
        ({"crash_seconds": 0.1}, "Its process ended with 7."),
        ({"leave_seconds": 0.1}, "Its process ended with 0."),
    ],
)
def test_a_version_that_fails_its_trial_is_sent_away_and_reported(
    device: Device, behaviour: dict[str, object], reason: str
) -> None:
    with served(device) as supervised, Crowd(device) as crowd:
        assert install(device, device.package("1.0.2", **behaviour)).returncode == 0
        wait_for(lambda: device.state()["refused"] == {"1.0.2": reason})
        supervised.serves("1.0.1")
        assert supervised.stop() == 0
    assert crowd.wrong == []
    state = device.state()
    assert (state["serving"], state["candidate"]) == ("1.0.1", None)
    assert [(r["version"], r["reason"]) for r in state["reports"]] == [("1.0.2", reason)]
    assert f"1.0.2 failed: {reason}" in supervised.says()


def test_a_crash_of_what_serves_is_mended(device: Device) -> None:
    with served(device) as supervised:
        with pytest.raises(CutOffError, match="0 bytes"):
            ask(device, "crash")
        supervised.serves("1.0.1")
    assert device.state()["reports"][0]["kind"] == "crash"


def test_a_version_that_cannot_start_any_more_gives_way_to_the_one_before(device: Device) -> None:
    with served(device) as supervised:
        install(device, device.package("1.0.2"))
        supervised.settles("1.0.2")
        supervised.stop()
    (device.root / "versions" / "1.0.2" / "model" / "behaviour.json").write_text("damaged")
    with Supervised(device) as supervised:
        supervised.serves("1.0.1")
    assert device.state()["serving"] == "1.0.1"
    assert "1.0.2" in device.state()["refused"]


def test_a_candidate_that_takes_the_device_down_is_not_tried_for_ever(device: Device) -> None:
    device.trial_seconds = 60
    device.configure()
    assert install(device, device.package("1.0.1")).returncode == 0
    Root(device.root).change(lambda state: state.confirm("1.0.1"))
    assert install(device, device.package("1.0.2")).returncode == 0
    for _ in range(3):
        with Supervised(device) as supervised:
            supervised.serves("1.0.2")  # and the power fails
    with Supervised(device) as supervised:
        supervised.serves("1.0.1")
        wait_for(lambda: "1.0.2" in device.state()["refused"])
        assert ask(device) == "1.0.1"


def test_being_switched_off_is_no_failure_of_the_candidate(device: Device) -> None:
    device.trial_seconds = 60
    device.configure()
    assert install(device, device.package("1.0.1")).returncode == 0
    assert install(device, device.package("1.0.2")).returncode == 0
    for _ in range(4):
        with Supervised(device) as supervised:
            supervised.serves("1.0.2")
            assert supervised.stop() == 0
    assert device.state()["starts"] == 0
    assert device.state()["candidate"] == "1.0.2"


def test_rollback_is_obeyed_while_it_runs(device: Device) -> None:
    with served(device) as supervised:
        install(device, device.package("1.0.2"))
        supervised.settles("1.0.2")
        done = slm_edge("rollback", "--root", device.root)
        assert (done.returncode, done.stdout) == (0, "1.0.1 serves again.\n")
        supervised.serves("1.0.1")
        shown = slm_edge("status", "--root", device.root).stdout
        assert "serving    1.0.1" in shown
        assert f"on unix:{device.home}/s" in shown


def test_rollback_in_a_trial_ends_the_trial(device: Device) -> None:
    with served(device) as supervised:
        device.trial_seconds = 60
        device.configure()
        supervised.stop()
    with Supervised(device) as supervised:
        supervised.serves("1.0.1")
        install(device, device.package("1.0.2"))
        supervised.serves("1.0.2")
        assert slm_edge("rollback", "--root", device.root).returncode == 0
        supervised.serves("1.0.1")
    assert device.state()["candidate"] is None


def test_a_candidate_found_at_the_start_takes_over_from_the_one_before(device: Device) -> None:
    served(device).__exit__()
    assert install(device, device.package("1.0.2", start_seconds=1)).returncode == 0
    with Supervised(device) as supervised, Crowd(device) as crowd:
        supervised.settles("1.0.2")
    assert crowd.wrong == []
    assert crowd.versions[0] == "1.0.1"


def test_without_a_version_there_is_nothing_to_serve(device: Device) -> None:
    done = slm_edge("serve", "--root", device.root, "--config", device.config)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: Nothing is installed in {device.root}: slm-edge install")


def test_a_configuration_may_be_named_from_where_the_command_is_typed(device: Device) -> None:
    assert install(device, device.package("1.0.1")).returncode == 0
    with Supervised(device, os.path.relpath(device.config)) as supervised:
        supervised.serves("1.0.1")


def test_a_second_supervisor_is_refused(device: Device) -> None:
    with served(device):
        done = slm_edge("serve", "--root", device.root, "--config", device.config)
        assert done.returncode == 1
        assert done.stderr == (
            f"error: Another slm-edge serves {device.root}: stop that one first.\n"
        )
        assert ask(device) == "1.0.1"


def test_a_socket_in_use_is_named_and_an_abandoned_one_replaced(device: Device) -> None:
    assert install(device, device.package("1.0.1")).returncode == 0
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(device.home / "s"))
        other.listen()
        done = slm_edge("serve", "--root", device.root, "--config", device.config)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: Another process answers on {device.home}/s: stop")
    with Supervised(device) as supervised:
        supervised.serves("1.0.1")
        assert supervised.stop() == 0
    assert not (device.home / "s").exists()


def test_a_supervisor_that_is_killed_leaves_nobody_behind(device: Device) -> None:
    with served(device) as supervised:
        os.kill(supervised.process.pid, signal.SIGKILL)
        supervised.process.wait()
        wait_for(lambda: _is_refused(device))
    with Supervised(device) as supervised:
        supervised.serves("1.0.1")


def _is_refused(device: Device) -> bool:
    try:
        ask(device)
    except OSError:
        return True
    return False


def test_an_interpreter_that_is_gone_is_a_failed_trial(device: Device) -> None:
    with served(device) as supervised:
        package = device.package("1.0.2")
        assert install(device, package).returncode == 0
        supervised.settles("1.0.2")
        supervised.stop()
    note = device.root / "versions" / "1.0.2" / "installed.json"
    note.write_text('{"python": "/nowhere/python"}')
    with Supervised(device) as supervised:
        supervised.serves("1.0.1")
    assert "cannot be started" in device.state()["refused"]["1.0.2"]


def test_a_state_that_cannot_be_written_keeps_the_old_version(tmp_path: Path) -> None:
    """A folder in the place of the file that is written beside: also root cannot write it."""
    device = Device(tmp_path, new_key())
    with served(device) as supervised:
        assert install(device, device.package("1.0.2")).returncode == 0
        supervised.settles("1.0.2")
        assert install(device, device.package("1.0.3")).returncode == 0
        supervised.settles("1.0.3")
        blocker = device.root / ".state.json.new"
        assert slm_edge("rollback", "--root", device.root).returncode == 0
        supervised.serves("1.0.2")
        supervised.process.send_signal(signal.SIGSTOP)  # it sees the candidate after the blocker
        assert install(device, device.package("1.0.4")).returncode == 0
        blocker.mkdir()
        supervised.process.send_signal(signal.SIGCONT)
        wait_for(lambda: "cannot be written" in supervised.says())
        assert ask(device) == "1.0.2"
        blocker.rmdir()
        wait_for(lambda: device.state()["serving"] == "1.0.4", 30)
