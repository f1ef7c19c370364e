"""What differs between environments.

``Settings.load("dev")`` reads ``pipeline/environments/dev.toml``. The result is frozen, and has
every name that follows from it (names.py).

Leaves out: pipeline parameters (those change from run to run; see definition.py) and secrets
(there are none).
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from pipeline.names import PROJECT, Names
from pipeline.sections import (
    Budget,
    Delivery,
    Edge,
    Identity,
    Monitoring,
    Network,
    Processing,
    Promotion,
    Retraining,
    S3Uri,
    Studio,
    Training,
    pattern,
)

ENVIRONMENTS = Path(__file__).resolve().parent / "environments"
MAX_BUCKET_NAME = 63  # characters; "Bucket naming rules" in the Amazon S3 user guide


class SettingsError(Exception):
    """A setting that is wrong: one sentence with the key, the value and the rule."""


class Settings(Names):
    """Everything that differs between environments; the rest is derived from it."""

    base_model_uri: S3Uri | None = None
    """A folder with a Hugging Face model, given to *prepare* and *train*; when left out they use
    the model that their image carries."""
    component_name: Annotated[str, pattern(r"^[A-Za-z0-9_.-]{1,128}$")] = "slm.edge.IntentModel"
    publisher: str = Field(default=PROJECT, min_length=1)
    cache_days: int = Field(default=30, ge=1, le=365)
    processing: Processing = Processing()
    training: Training = Training()
    network: Network = Network()
    budget: Budget = Budget()
    retraining: Retraining = Retraining()
    monitoring: Monitoring = Monitoring()
    promotion: Promotion = Promotion()
    identity: Identity = Identity()
    studio: Studio = Studio()
    edge: Edge = Edge()
    delivery: Delivery = Delivery()
    max_parallel_steps: int = Field(default=4, ge=1, le=50)
    retain_data: bool = True
    """Whether buckets and key outlive their stack."""
    ask_above_usd: float = Field(default=1.0, ge=0, strict=False)
    """``slm start`` asks before an execution that is estimated to cost more."""

    @classmethod
    def load(cls, environment: str) -> Settings:
        """Read an environment.

        Args:
            environment: ``local``, ``dev``, ``staging`` or ``prod``, or the path of a file of
                one's own, which ends in ``.toml``.

        Raises:
            SettingsError: There is no such environment, or its file breaks a rule.
        """
        if environment.endswith(".toml"):
            return cls.read(Path(environment))
        path = ENVIRONMENTS / f"{environment}.toml"
        known = sorted(file.stem for file in ENVIRONMENTS.glob("*.toml"))
        if environment not in known:
            raise SettingsError(
                f"environment {environment!r} is not one of {', '.join(known)}: "
                "choose one of those, or give the path of a .toml file."
            )
        return cls.read(path)

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Read settings from a TOML file.

        Raises:
            SettingsError: The file is missing, is not TOML, or breaks a rule.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SettingsError(f"{path} does not exist: write it or name another file.") from None
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"{path} is not valid TOML: {error}.") from None
        return cls.of(values, where=str(path))

    @classmethod
    def of(cls, values: dict[str, Any], *, where: str = "settings") -> Settings:
        """Check ``values`` and make settings of them; ``where`` is named in the error."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError(f"{where}: {_sentence(error.errors()[0])}") from None

    @model_validator(mode="after")
    def _has_no_bucket_name_that_is_too_long(self) -> Self:
        for name in (*self.buckets.values(), self.access_log_bucket):
            if len(name) > MAX_BUCKET_NAME:
                raise ValueError(f"bucket {name} has {len(name)} characters, more than 63")
        return self

    @model_validator(mode="after")
    def _tells_somebody_what_it_costs(self) -> Self:
        if self.environment != "local" and not self.budget.recipients:
            raise ValueError("budget.recipients is empty: add a mail address that is told")
        return self

    @model_validator(mode="after")
    def _has_people_approve_what_people_depend_on(self) -> Self:
        if self.retraining.automatic_approval and self.environment not in ("local", "dev"):
            raise ValueError(
                f"retraining.automatic_approval is for local and dev, and this is "
                f"{self.environment}: set it to false"
            )
        return self

    def runbook_link(self, section: str) -> str:
        """The address of a section of the runbook."""
        return f"{self.monitoring.runbook}#{section}"


def _sentence(error: ErrorDetails) -> str:
    """One sentence with the key, the value and the rule."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{key} is not a setting: remove it or correct its name."
    if error["type"] == "missing":
        return f"{key} is missing: add it."
    rule = error["msg"].removeprefix("Value error, ")
    rule = rule[:1].lower() + rule[1:]
    if error["type"] == "value_error" and isinstance(error["input"], dict):
        return f"{key + ': ' if key else ''}{rule}."
    return f"{key} = {error['input']!r} is not allowed: {rule}."
