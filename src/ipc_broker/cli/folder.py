"""The configuration folder: what `ipc-broker` uses where nothing else is said."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

CONFIG, POLICY, TOKENS, SERVICES = "config.toml", "policy.toml", "tokens.toml", "services"


def configuration_folder(environ: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/ipc-broker` or `~/.config/ipc-broker`; where other systems keep such things."""
    if sys.platform in ("win32", "darwin"):
        from platformdirs import user_config_path  # only there: it is not needed on others

        return user_config_path("ipc-broker", appauthor=False)
    home = environ.get("XDG_CONFIG_HOME", "")
    # The specification of these folders wants a path that is relative to be ignored.
    return (Path(home) if os.path.isabs(home) else Path("~/.config").expanduser()) / "ipc-broker"


def default_config(folder: Path) -> str | None:
    file = folder / CONFIG
    return str(file) if file.exists() else None


def default_settings(folder: Path) -> dict[str, object]:
    """Of the settings that name files: those that are there. The file of tokens comes with the first one."""
    found: dict[str, object] = {"tokens": str(folder / TOKENS)}
    if (policy := folder / POLICY).exists():
        found["policy"] = str(policy)
    if (services := folder / SERVICES).is_dir():
        found["services"] = [str(services)]
    return found
