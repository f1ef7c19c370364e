"""The emulated account with a fleet, devices that step when they are told to, and a clock."""

from __future__ import annotations

import pytest

from pipeline.cloud.session import Account
from tests.e2e.greengrass import Greengrass
from tests.pipeline.cloud.emulated import Emulated
from tests.pipeline.cloud.fleet.conftest import cloud, served, service  # noqa: F401 - fixtures
from tests.pipeline.cloud.fleet.emulated_fleet import Puppet
from tests.pipeline.cloud.promotion.promotable import Clock, Fleet, account_of

CANARIES, FLEET = ("c1", "c2"), ("f1", "f2", "f3")


@pytest.fixture
def account(cloud: Emulated) -> Account:  # noqa: F811 - the fixture
    return account_of(cloud)


@pytest.fixture
def fleet(cloud: Emulated, service: Greengrass) -> Fleet:  # noqa: F811
    """Two canaries and three others."""
    iot, settings = cloud.client("iot"), cloud.settings
    for group, names in ((settings.canary_group, CANARIES), (settings.thing_group, FLEET)):
        for name in names:
            iot.create_thing(thingName=name)
            iot.add_thing_to_thing_group(thingGroupName=group, thingName=name)
    service.reset()
    return Fleet(cloud, [Puppet(name, service) for name in (*CANARIES, *FLEET)], Clock())
