"""The device's configuration: one TOML file, read once, every key optional.

::

    settings = Settings.read(Path("/etc/slm-edge/config.toml"))
    settings.limits.body_bytes

What it leaves out: whether what it names is there. A folder of keys that is missing is the
business of who looks into it. Only the standard library is imported: the supervisor reads
settings, and stays small.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from edge.errors import SettingsError

DEFAULT = Path("/etc/slm-edge/config.toml")
"""Where the file lies unless a command names another; it need not exist."""
NUCLEUS_SOCKET = "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"
"""Set by both nuclei of Greengrass for the components that they start."""
NUCLEUS_THING = "AWS_IOT_THING_NAME"
"""Set by both nuclei too."""

Choice = bool | Literal["auto"]
# plain http only where nobody else listens
_DESTINATION = re.compile(
    r"https://[^/\s]\S*|file:/\S+|http://(127\.0\.0\.1|localhost|\[::1\])[:/]\S*"
)


def _between(low: float, high: float, default: Any) -> Any:
    """A number field with its bounds, both included."""
    return field(default=default, metadata={"low": low, "high": high})


class Address(NamedTuple):
    """Where the service listens: a path for a Unix socket, or a host and a port."""

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether nobody outside this machine can reach it."""
        return bool(self.path) or ipaddress.ip_address(self.host).is_loopback


@dataclass(frozen=True)
class ModelSettings:
    """``[model]``: what one prediction may use."""

    threads: int = _between(1, 64, 1)
    """Predictions at the same time, each on one thread of the processor."""
    arena: bool = True
    """Keep freed memory for the next prediction: faster, at some megabytes."""
    precise: Choice = "auto"
    """Multiply without saturation; ``auto`` does it where the processor and the model need it."""


@dataclass(frozen=True)
class Limits:
    """``[limits]``: everything that a client could make large or slow."""

    body_bytes: int = _between(1024, 16_000_000, 65536)
    characters: int = _between(1, 100_000, 2000)
    """Of one utterance."""
    batch: int = _between(1, 1024, 64)
    """Utterances in one request."""
    queue: int = _between(1, 10_000, 64)
    """Requests that wait for a free thread; one more is answered 503 at once."""
    deadline_seconds: float = _between(0.01, 60, 1.0)
    """From the whole request to its answer; who would wait longer is answered 503 instead."""
    connections: int = _between(1, 10_000, 256)
    request_seconds: float = _between(0.1, 600, 5.0)
    """For a client to send one request, and to take its answer."""
    drain_seconds: float = _between(0, 600, 10.0)
    """For what was accepted to be finished before the process ends."""


@dataclass(frozen=True)
class UpdateSettings:
    """``[updates]``."""

    trusted_keys: Path = Path("/etc/slm-edge/trusted")
    """A folder of public keys, ``*.pem``; a package must be signed by one of them."""
    trial_seconds: float = _between(0, 86_400, 180)
    """How long a new version must serve without a crash before the old one is let go."""
    allow_unsigned: bool = False


@dataclass(frozen=True)
class TelemetrySettings:
    """``[telemetry]``: counts, never text."""

    window_seconds: float = _between(1, 604_800, 3600)
    minimum_count: int = _between(1, 1_000_000, 5)
    """Intents that were predicted less often in a window are not named in it."""
    folder: Path | None = None
    """``telemetry`` below the state's root when not given."""
    max_bytes: int = _between(10_000, 10_000_000_000, 5_000_000)
    """On disk; the oldest windows go first."""
    destination: str = "none"
    """``none``, ``greengrass``, ``https://…`` or ``file:/…``."""
    topic: str = "slm/{thing}/telemetry"


@dataclass(frozen=True)
class GreengrassSettings:
    """``[greengrass]``: requests and responses as messages, under a nucleus."""

    requests: str = "slm/{thing}/requests"
    responses: str = "slm/{thing}/responses"
    enabled: Choice = "auto"

    @property
    def applies(self) -> bool:
        """Whether to serve messages: as told, or where a nucleus started this process."""
        return NUCLEUS_SOCKET in os.environ if self.enabled == "auto" else self.enabled


@dataclass(frozen=True)
class Settings:
    """All of the file."""

    thing: str = ""
    """The device's name in the account; a nucleus gives its own when the file gives none."""
    listen: str = "127.0.0.1:8765"
    """``address:port`` or ``unix:/path``."""
    allow_network: bool = False
    """Whether ``listen`` may be reached from other machines: there is no authentication."""
    model: ModelSettings = ModelSettings()
    limits: Limits = Limits()
    updates: UpdateSettings = UpdateSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    greengrass: GreengrassSettings = GreengrassSettings()

    @classmethod
    def read(cls, path: Path | str | None = None) -> Settings:
        """Read the file at ``path``, or at :data:`DEFAULT` when it is there.

        Raises:
            SettingsError: It is missing, no TOML, or a key or a value in it is wrong.
        """
        path = DEFAULT if path is None else Path(path)
        try:
            text = path.read_bytes().decode("utf-8")
        except FileNotFoundError:
            if path != DEFAULT:
                raise SettingsError(f"There is no configuration file {path}.") from None
            text = ""
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path} cannot be read: {error}.") from None
        try:
            return cls.parse(tomllib.loads(text))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise SettingsError(f"{path} is not TOML: {error}.") from None
        except SettingsError as error:
            raise SettingsError(f"{path}: {error}") from None

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Settings:
        """Check what the file says.

        Raises:
            SettingsError: A key is unknown, or a value has another type or is out of range.
        """
        settings = _read_section(cls(), values, "")
        if not settings.thing:
            settings = replace(settings, thing=os.environ.get(NUCLEUS_THING, ""))
        _check(settings)
        return settings

    def listening(self, listen: str | None) -> Settings:
        """The same with the address of a command's ``--listen``, if it was given one.

        Raises:
            SettingsError: It is none, or lets other machines in and that is not allowed.
        """
        if listen is None:
            return self
        if not (parse_address(listen).is_local or self.allow_network):
            raise SettingsError(
                f"--listen {listen} lets other machines in: set allow_network = true if that is "
                "meant."
            )
        return replace(self, listen=listen)

    @property
    def address(self) -> Address:
        """``listen``, taken apart."""
        return parse_address(self.listen)

    def in_topic(self, template: str) -> str:
        """A topic with this device's name in it.

        Raises:
            SettingsError: It needs the name, and the device has none.
        """
        if "{thing}" in template and not self.thing:
            raise SettingsError(f"thing is not set, and the topic {template} needs it.")
        return template.replace("{thing}", self.thing)


def parse_address(text: str) -> Address:
    """Take ``127.0.0.1:8765``, ``[::1]:8765``, ``localhost:8765`` or ``unix:/path`` apart.

    Raises:
        SettingsError: It is none of them.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        # the kernel's structure holds 108 bytes, the last of them zero
        if not path.startswith("/") or len(path.encode()) > 107 or "\0" in path:
            raise SettingsError(
                f"listen must name a socket by an absolute path of at most 107 bytes, not {text!r}."
            )
        return Address("", 0, path)
    host, _, port = text.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.strip("[]")
    try:
        ipaddress.ip_address(host)
        number = int(port) if re.fullmatch("[0-9]{1,5}", port) else -1
        if not 0 <= number <= 65535:
            raise ValueError
    except ValueError:
        raise SettingsError(
            "listen must be an address and a port like 127.0.0.1:8765, or unix:/path, "
            f"not {text!r}."
        ) from None
    return Address(host, number)


def _read_section(section: Any, values: Mapping[str, Any], prefix: str) -> Any:
    """``section`` with ``values`` instead of its defaults; ``prefix`` names it in an error."""
    known = {f.name: f for f in fields(section)}
    changes: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if key not in known:
            raise SettingsError(f"{name} is no setting; there are {', '.join(known)}.")
        default = getattr(section, key)
        if is_dataclass(default):
            if not isinstance(value, dict):
                raise SettingsError(f"{name} must be a section, not {value!r}.")
            table = cast("dict[str, Any]", value)
            changes[key] = _read_section(default, table, f"{name}.")
        else:
            changes[key] = _read_value(name, value, str(known[key].type), known[key].metadata)
    return replace(section, **changes)


def _read_value(name: str, value: Any, kind: str, bounds: Mapping[str, float]) -> Any:
    """One value of the type that the field's annotation names."""
    if kind == "bool":
        if isinstance(value, bool):
            return value
        raise SettingsError(f"{name} must be true or false, not {value!r}.")
    if kind == "Choice":
        if isinstance(value, bool) or value == "auto":
            return value
        raise SettingsError(f'{name} must be true, false or "auto", not {value!r}.')
    if kind in {"int", "float"}:
        return _read_number(name, value, kind == "int", bounds["low"], bounds["high"])
    if not isinstance(value, str) or not value.isprintable():
        raise SettingsError(f"{name} must be text, not {value!r}.")
    if kind == "str":
        return value
    if value == "" and "None" in kind:
        return None
    if not value.startswith("/"):
        raise SettingsError(f"{name} must be an absolute path, not {value!r}.")
    return Path(value)


def _read_number(name: str, value: Any, whole: bool, low: float, high: float) -> float:
    right = isinstance(value, int) if whole else isinstance(value, (int, float))
    # nan is in no range
    if not right or isinstance(value, bool) or not low <= value <= high:
        sort = "a whole number" if whole else "a number"
        raise SettingsError(f"{name} must be {sort} from {low} to {high}, not {value!r}.")
    return value if whole else float(value)


def _check(settings: Settings) -> None:
    """What a type and a range do not say."""
    if settings.thing and not re.fullmatch(r"[a-zA-Z0-9:_-]{1,128}", settings.thing):
        raise SettingsError(
            "thing must be 1 to 128 letters, digits, colons, hyphens or underscores, "
            f"not {settings.thing!r}."
        )
    address = parse_address(settings.listen)
    if not (address.is_local or settings.allow_network):
        raise SettingsError(
            f"listen = {settings.listen!r} lets other machines in, and the service has no "
            "authentication: set allow_network = true if that is meant."
        )
    destination = settings.telemetry.destination
    if destination not in {"none", "greengrass"} and not _DESTINATION.fullmatch(destination):
        raise SettingsError(
            "telemetry.destination must be none, greengrass, https://… or file:/…, "
            f"not {destination!r}."
        )
    for name, topic in (
        ("telemetry.topic", settings.telemetry.topic),
        ("greengrass.requests", settings.greengrass.requests),
        ("greengrass.responses", settings.greengrass.responses),
    ):
        if not topic or len(topic.encode()) > 256 or set("+#") & set(topic):
            raise SettingsError(
                f"{name} must be a topic of at most 256 bytes without + and #, not {topic!r}."
            )
