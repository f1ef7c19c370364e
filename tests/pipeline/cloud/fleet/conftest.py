"""An emulated account with a fleet: over HTTP, Greengrass included."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.cloud.session import Account
from pipeline.settings import Settings
from tests.e2e.front import running
from tests.e2e.greengrass import Greengrass
from tests.moto_server import reset
from tests.pipeline.cloud.emulated import ACCOUNT, REGION, SETTINGS, Emulated, environment
from tests.pipeline.cloud.fleet.emulated_fleet import Puppet, make_fleet


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, Greengrass]]:
    with running(ACCOUNT, REGION) as found:
        yield found


@pytest.fixture
def service(served: tuple[str, Greengrass]) -> Greengrass:
    return served[1]


@pytest.fixture
def cloud(
    served: tuple[str, Greengrass], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Emulated:
    """The account as the stacks leave it."""
    reset(served[0])
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "settings.toml"
    file.write_text(SETTINGS)
    emulated = Emulated(served[0], file, Settings.read(file))
    make_fleet(emulated)
    return emulated


@pytest.fixture
def account(cloud: Emulated) -> Account:
    return Account(cloud.settings, cloud.address)


@pytest.fixture
def devices(service: Greengrass) -> Iterator[Callable[..., None]]:
    """Call it with puppets: they ask for work until the test ends."""
    over, threads = threading.Event(), []

    def live(puppets: list[Puppet]) -> None:
        while not over.wait(0.02):
            for one in puppets:
                one.step()

    def start(*puppets: Puppet) -> None:
        threads.append(threading.Thread(target=live, args=(list(puppets),)))
        threads[-1].start()

    yield start
    over.set()
    for thread in threads:
        thread.join()
