"""TOML of the files that a broker reads, whatever stands in them."""

from __future__ import annotations

import tomllib
from typing import Any

from .errors import ConfigError


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Raises ConfigError, which names the file."""
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(f"{source} is no TOML that can be read: it is nested too deeply") from error
    except ValueError as error:  # not only TOMLDecodeError: a number may be too long
        raise ConfigError(f"{source} is no TOML: {error}") from error
