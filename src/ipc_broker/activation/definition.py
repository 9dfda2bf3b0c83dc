"""One service, as its file describes it.

# services/disk.toml
object = "disk"
exec = ["/usr/lib/disk/worker", "--quiet"]   # or: systemd_unit = "disk.service"
environment = { DISK_CACHE = "/var/cache/disk" }
restart = "on-failure"
idle_stop = 300
start_timeout = 10
"""

from __future__ import annotations

import os.path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from ..errors import ConfigError
from ..messages import MAX_NAME
from ..toml import parse_toml

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Restart = Literal["never", "on-failure", "always"]

NOT_IN_A_UNIT = {
    "environment": "Environment=",
    "restart": "Restart=",
}
"""What a unit of systemd says itself, and how."""


class InvalidService(ValueError):
    """A definition makes no sense; the message says which field and why."""


class ServiceDefinition(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What serves the object, and how it is kept. Either `exec` or `systemd_unit` is given.

    `exec` is a program and its arguments, and no shell reads them. `restart`: whether it is started again when it ends by
    itself, without waiting for a call. `idle_stop`: after how many seconds without a call it is stopped, at most twice as
    many, 0 for never. `start_timeout`: within how many seconds it has to serve its object.
    """

    object: Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
    exec: tuple[str, ...] = ()
    systemd_unit: str = ""
    environment: dict[str, str] = {}
    restart: Restart = "never"
    idle_stop: Seconds = 0.0
    start_timeout: Annotated[float, Meta(gt=0, le=3600)] = 10.0

    def __post_init__(self) -> None:
        if bool(self.exec) == bool(self.systemd_unit):
            raise InvalidService("give either exec or systemd_unit")
        if self.object == "rob":
            raise InvalidService("object: 'rob' is the broker's own")
        self._check_unit() if self.systemd_unit else self._check_exec()

    def _check_exec(self) -> None:
        if "\0" in self.object:
            raise InvalidService("object: a zero byte cannot be said to a process")
        program = self.exec[0]
        if not program:
            raise InvalidService("exec: the program has no name")
        if os.path.dirname(program) and not os.path.isabs(program):
            raise InvalidService(f"exec: {program!r} is relative; give the whole path, or a name to be found in PATH")
        if any("\0" in argument for argument in self.exec):
            raise InvalidService("exec: an argument has a zero byte")
        for name, value in self.environment.items():
            if not name or "=" in name or "\0" in name:
                raise InvalidService(f"environment: {name!r} is no name of a variable")
            if "\0" in value:
                raise InvalidService(f"environment: the value of {name} has a zero byte")

    def _check_unit(self) -> None:
        if not is_unit(self.systemd_unit):
            unit = self.systemd_unit
            raise InvalidService(f"systemd_unit: {unit!r} is no name of a service unit, as in 'disk.service'")
        for field, directive in NOT_IN_A_UNIT.items():
            if getattr(self, field) not in ({}, "never"):
                raise InvalidService(f"{field}: a unit says that itself ({directive})")


_UNIT_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@")


def is_unit(name: str) -> bool:
    """Whether systemd may be given it: no option, no path, no other kind of unit (systemd.unit(5))."""
    if len(name) > 255 or name.startswith(("-", ".")) or not name.endswith(".service"):
        return False
    return _UNIT_CHARACTERS.issuperset(name)


def parse_service(text: str, source: str) -> ServiceDefinition:
    """Raises ConfigError, which names the place."""
    try:
        return msgspec.convert(parse_toml(text, source), ServiceDefinition)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {error}") from error


class _SeedEntry(Struct, frozen=True):
    type: str
    object_name: str
    service_name: str


def parse_seed_services(text: str, source: str) -> list[ServiceDefinition]:
    """A file of `~/service-activation`, as the Rust crate's broker reads them. Raises ConfigError, which names the place."""
    try:
        entries = msgspec.json.decode(text, type=list[_SeedEntry])
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{source}: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{source}: it is nested too deeply") from error
    return [_from_seed(entry, f"{source}, entry {number}") for number, entry in enumerate(entries, 1)]


def _from_seed(entry: _SeedEntry, place: str) -> ServiceDefinition:
    if entry.type != "RegisterService":
        raise ConfigError(f"{place}: there is no type {entry.type!r}; it must be 'RegisterService'")
    try:
        return define_unit(entry.object_name, entry.service_name)
    except InvalidService as error:
        raise ConfigError(f"{place}: {error}") from error


def define_unit(object_name: str, service_name: str) -> ServiceDefinition:
    """What the Rust crate's programs say: an object, and the service of systemd. Raises InvalidService."""
    wanted: dict[str, Any] = {"object": object_name, "systemd_unit": unit_of(service_name)}
    try:
        return msgspec.convert(wanted, ServiceDefinition)
    except msgspec.ValidationError as error:
        raise InvalidService(str(error)) from error


def unit_of(service_name: str) -> str:
    """systemctl takes a name without a suffix for a service."""
    return service_name if service_name.endswith(".service") else f"{service_name}.service"
