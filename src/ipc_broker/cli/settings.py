"""The settings of `BrokerConfig` as options of `ipc-broker`."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal, get_args, get_origin

import click
import msgspec
from msgspec import Meta, Struct

from ..config import SECTIONS, BrokerConfig
from ..config_sources import load_config
from ..identity.files import read_trusted
from .folder import configuration_folder, default_config, default_settings

PREFIXES = {"limits": "limit_", "quotas": "quota_", "tls": "tls_"}
"""Of the options for what is a table in a file."""

TITLES = {
    "limit_": "Limits of each connection",
    "quota_": "Quotas of each user, but for the broker's own and root",
    "tls_": "Files for tls:// addresses, read again when they change",
}

_METAVARS = {
    "listen": "ADDRESS",
    "allow_users": "USER",
    "allow_groups": "GROUP",
    "policy": "FILE",
    "tokens": "FILE",
    "services": "FOLDER",
    "allow_units": "UNIT",
    "certificate": "FILE",
    "key": "FILE",
    "client_ca": "FILE",
}


def settings_of(options: dict[str, Any]) -> BrokerConfig:
    """What the options, the environment, and the files say. Raises ConfigError.

    Of the configuration folder is used what is there and nobody names another for.
    """
    given = {name: value for name, value in options.items() if value is not None and value != () and value is not False}
    file = given.pop("config", None)
    for section, prefix in PREFIXES.items():
        names = [name for name in given if name.startswith(prefix)]
        given[section] = {name.removeprefix(prefix): given.pop(name) for name in names}
    folder = configuration_folder(os.environ)
    if file is None and (file := default_config(folder)) is not None:
        read_trusted(file)  # nobody has named it: it is used because it lies there
    return load_config(file, os.environ, given, default_settings(folder))


def options() -> list[click.Parameter]:
    """One for each setting, and `--config`."""
    return [
        click.Option(["--config"], metavar="FILE", help="settings in TOML"),
        *_options(BrokerConfig),
        *(option for section, prefix in PREFIXES.items() for option in _options(SECTIONS[section], prefix)),
    ]


def title_of(parameter: click.Parameter) -> str:
    """Under which it stands in the help."""
    name = parameter.name or ""
    return next((title for prefix, title in TITLES.items() if name.startswith(prefix)), "Options")


def _options(kind: type[Struct], prefix: str = "") -> list[click.Parameter]:
    return [_option(field, prefix) for field in msgspec.structs.fields(kind) if field.name not in SECTIONS]


def _option(field: msgspec.structs.FieldInfo, prefix: str) -> click.Option:
    hint, metas = _without_metas(field.type)
    description = " ".join(meta.description for meta in metas if meta.description)
    is_list = get_origin(hint) is tuple
    default = ", ".join(field.default) if is_list else str(field.default)
    shown = f"  [default: {default}]" if default and hint is not bool else ""
    names = [f"--{(prefix + field.name).replace('_', '-')}", prefix + field.name]
    if hint is bool:
        return click.Option(names, is_flag=True, help=description)
    return click.Option(
        names,
        type=_parameter_type(get_args(hint)[0] if is_list else hint),
        multiple=is_list,
        metavar=_METAVARS.get(field.name),
        help=description + shown,
    )


def _parameter_type(hint: Any) -> click.Choice[str] | type:
    """Ranges are left to BrokerConfig, which checks the file and the environment too."""
    return click.Choice(get_args(hint)) if get_origin(hint) is Literal else hint


def _without_metas(hint: Any) -> tuple[Any, list[Meta]]:
    if get_origin(hint) is not Annotated:
        return hint, []
    inner, *metas = get_args(hint)
    return inner, [meta for meta in metas if isinstance(meta, Meta)]
