"""The folders with the files of services: `*.toml` with one each, and `*.json` of the Rust crate's broker."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from ..errors import ConfigError
from ..identity.files import read_trusted, require_trusted_folder
from .definition import ServiceDefinition, parse_seed_services, parse_service


def seed_folder() -> str:
    """Where the Rust crate's broker looks; it need not be there."""
    return os.path.join(os.path.expanduser("~"), "service-activation")


def read_services(folders: Iterable[str], optional: Iterable[str] = ()) -> list[ServiceDefinition]:
    """All of them, in order of the files' names. Of the `optional` folders those that are there.

    Raises ConfigError, which names the file, where one cannot be read, makes no sense, or defines what another one has.
    """
    found: dict[str, tuple[ServiceDefinition, str]] = {}
    for folder in dict.fromkeys((*folders, *filter(os.path.exists, optional))):
        for file in files_in(folder):
            for definition in definitions_in(file):
                if definition.object in found:
                    other = found[definition.object][1]
                    raise ConfigError(f"{file}: the object '{definition.object}' has a service already, in {other}")
                found[definition.object] = definition, file
    return [definition for definition, _ in found.values()]


def files_in(folder: str) -> Iterator[str]:
    """Raises ConfigError, also where others could put files there: what they say is done in our own name."""
    require_trusted_folder(folder)
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise ConfigError(f"cannot read {folder}: {error.strerror or error}") from error
    for name in sorted(names):
        if name.endswith((".toml", ".json")) and not name.startswith("."):
            yield os.path.join(folder, name)


def definitions_in(file: str) -> list[ServiceDefinition]:
    """Raises ConfigError, which names the place."""
    text = read_trusted(file)
    return [parse_service(text, file)] if file.endswith(".toml") else parse_seed_services(text, file)
