"""Where the broker's settings come from: options, environment and a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from .config import LISTS, SECTIONS, BrokerConfig
from .errors import ConfigError
from .toml import parse_toml

ENVIRONMENT_PREFIX = "IPC_BROKER_"


def load_config(
    file: str | None,
    environ: Mapping[str, str],
    options: Mapping[str, object],
    defaults: Mapping[str, object] | None = None,
) -> BrokerConfig:
    """Settings in order of weight: `options` of the command line, the environment, the TOML file, and `defaults` in the place
    of those of `BrokerConfig`.

    In the environment a setting is `IPC_BROKER_` and its name in capitals, with commas between what may be given several
    times; one of a section is `IPC_BROKER_LIMITS_` and its name. `BROKER_DEBUG` is the log level, as for the Rust crate's
    broker. Raises ConfigError that names the place.
    """
    settings: dict[str, Any] = {}
    if file is not None:
        settings = _read_file(file)
        _convert(settings, BrokerConfig, file)
    settings = {**(defaults or {}), **settings}
    given = {name: value for name, value in options.items() if value is not None}
    settings = settings | _from_environment(environ, BrokerConfig, settings)
    for section in SECTIONS:
        if isinstance(single := given.get(section), Mapping):  # on top of what file and environment say
            given[section] = settings[section] | single
    return _convert(settings | given, BrokerConfig, "the settings")


def _read_file(file: str) -> dict[str, Any]:
    try:
        with open(file, encoding="utf-8") as stream:
            text = stream.read()
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is no TOML: {error}") from error
    return parse_toml(text, file)


def _from_environment(
    environ: Mapping[str, str], kind: type[Struct], settings: Mapping[str, Any], infix: str = ""
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if (section := SECTIONS.get(field.name)) is not None:
            inner = settings.get(field.name, {})
            found[field.name] = inner | _from_environment(environ, section, inner, f"{field.name.upper()}_")
            continue
        variable = f"{ENVIRONMENT_PREFIX}{infix}{field.name.upper()}"
        text = environ.get(variable)
        if field.name == "log_level" and not text:
            variable, text = "BROKER_DEBUG", environ.get("BROKER_DEBUG")
        if text:
            value: object = [part.strip() for part in text.split(",")] if field.name in LISTS else text
            try:
                found[field.name] = msgspec.convert(value, field.type, strict=False)
                kind(**{field.name: found[field.name]})
            except (msgspec.ValidationError, ConfigError) as error:
                raise ConfigError(f"{variable}={text!r} in the environment: {error}") from error
    return found


def _convert(settings: Mapping[str, object], kind: type[BrokerConfig], source: str) -> BrokerConfig:
    try:
        return msgspec.convert(settings, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {error}") from error
