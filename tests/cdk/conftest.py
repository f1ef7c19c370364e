"""Templates, synthesized once per test session and for each environment that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from pipeline.settings import Settings
from tests.cdk.delivery import delivery, staging  # noqa: F401 - fixtures
from tests.cdk.retraining import account, endpoint  # noqa: F401 - fixtures
from tests.cdk.synthesized import Synthesized, synthesize

INSTANCE = "arn:aws:sso:::instance/ssoins-1234567890abcdef"
GROUP = "12345678-1234-1234-1234-123456789012"

Synthesizer = Callable[..., Synthesized]


def changed(environment: str, changes: Mapping[str, Any]) -> Settings:
    """The settings of an environment with some of their values replaced."""
    values = Settings.load(environment).model_dump()
    for key, value in changes.items():
        values[key] = {**values[key], **value} if isinstance(value, Mapping) else value
    return Settings.of(values)


@pytest.fixture(scope="session")
def synthesized(tmp_path_factory: pytest.TempPathFactory) -> Synthesizer:
    """``synthesized("dev", whole=True, network={...})``: the templates, made once per arguments.

    ``whole`` adds the stacks that need the pipeline's definition; see ``synthesize``.
    """
    made: dict[str, Synthesized] = {}

    def ask(environment: str = "dev", *, whole: bool = False, **changes: Any) -> Synthesized:
        key = repr((environment, whole, sorted(changes.items())))
        if key not in made:
            folder = tmp_path_factory.mktemp("cdk.out")
            made[key] = synthesize(changed(environment, changes), folder, whole=whole)
        return made[key]

    return ask


@pytest.fixture(scope="session")
def dev(synthesized: Synthesizer) -> Synthesized:
    """What dev looks like, people's permission sets included."""
    assignment = {"permission_set": "auditor", "principal_id": GROUP}
    return synthesized("dev", identity={"instance_arn": INSTANCE, "assignments": [assignment]})


@pytest.fixture(scope="session")
def prod(synthesized: Synthesizer) -> Synthesized:
    return synthesized("prod")
