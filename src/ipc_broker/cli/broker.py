"""`ipc-broker`: the settings of BrokerConfig as options, and a broker that runs until it is stopped."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Literal, NoReturn, get_args, get_origin

import click
import msgspec
from msgspec import Meta, Struct

from ..aio.broker import run_broker
from ..config import BrokerConfig, Limits, load_config
from ..errors import ConfigError, ListenFailed
from ..version import VERSION
from .output import log_to_stderr, use_utf8, write_note
from .render import render_message

WRONG_USAGE, CANNOT_LISTEN = 2, 3
LIMIT_PREFIX = "limit_"

_HELP = """\
The broker of the bus that lets the programs on this machine talk. It runs until Ctrl-C or SIGTERM.

Every option can also stand in the environment (IPC_BROKER_GRACE, IPC_BROKER_LIMITS_CALLS) or in a TOML file:

\b
    listen = ["unix:///run/bus.sock", "tcp://127.0.0.1:5123"]
    log_level = "warn"
    [limits]
    calls = 1000

An option weighs more than the environment, the environment more than the file.
"""


def main() -> NoReturn:
    use_utf8()
    command.main(prog_name="ipc-broker")
    raise AssertionError("click ends the process")


def _run(config: str | None, **options: Any) -> None:
    limits = {
        name.removeprefix(LIMIT_PREFIX): options.pop(name) for name in list(options) if name.startswith(LIMIT_PREFIX)
    }
    options["listen"] = options["listen"] or None
    given_limits = {name: value for name, value in limits.items() if value is not None}
    try:
        settings = load_config(config, os.environ, options | {"limits": given_limits})
        log_to_stderr(settings.log_level)
        _serve(settings)
    except ConfigError as error:
        _fail(error, WRONG_USAGE)
    except ListenFailed as error:
        _fail(error, CANNOT_LISTEN)


def _serve(settings: BrokerConfig) -> None:
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(run_broker(settings))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed; None stands for the platform's own loop, which on Windows serves pipes."""
    if sys.platform != "win32":
        try:
            import uvloop
        except ImportError:
            return None
        return uvloop.new_event_loop
    return None


def _fail(error: Exception, status: int) -> NoReturn:
    write_note(f"ipc-broker: {render_message(str(error))}")
    sys.exit(status)


# Options out of the fields


def _options(kind: type[Struct], prefix: str = "") -> list[click.Parameter]:
    return [_option(field, prefix) for field in msgspec.structs.fields(kind) if field.type is not Limits]


def _option(field: msgspec.structs.FieldInfo, prefix: str) -> click.Option:
    hint, metas = _without_metas(field.type)
    description = " ".join(meta.description for meta in metas if meta.description)
    is_list = get_origin(hint) is tuple
    default = ", ".join(field.default) if is_list else str(field.default)
    return click.Option(
        [f"--{(prefix + field.name).replace('_', '-')}", prefix + field.name],
        type=_parameter_type(get_args(hint)[0] if is_list else hint),
        multiple=is_list,
        metavar="ADDRESS" if is_list else None,
        help=f"{description}  [default: {default}]",
    )


def _parameter_type(hint: Any) -> click.Choice[str] | type:
    """Ranges are left to BrokerConfig, which checks the file and the environment too."""
    return click.Choice(get_args(hint)) if get_origin(hint) is Literal else hint


def _without_metas(hint: Any) -> tuple[Any, list[Meta]]:
    if get_origin(hint) is not Annotated:
        return hint, []
    inner, *metas = get_args(hint)
    return inner, [meta for meta in metas if isinstance(meta, Meta)]


command = click.Command(
    "ipc-broker",
    help=_HELP,
    callback=_run,
    params=[
        click.Option(["--config"], metavar="FILE", help="settings in TOML"),
        *_options(BrokerConfig),
        *_options(Limits, LIMIT_PREFIX),
    ],
)
command = click.version_option(VERSION, message="%(prog)s %(version)s")(command)


if __name__ == "__main__":
    main()
