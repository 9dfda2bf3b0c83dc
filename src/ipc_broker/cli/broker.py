"""`ipc-broker`: a broker that runs until it is stopped, and what keeps its policy, tokens and services in order."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

import click

from ..activation.folders import seed_folder
from ..aio.running import run_broker
from ..config import BrokerConfig
from ..errors import ConfigError, ListenFailed
from ..version import VERSION
from .checking import check
from .fail import CANNOT_LISTEN, WRONG_USAGE, fail
from .install import install
from .log_lines import log_to_stderr
from .output import use_utf8
from .policy import policy
from .settings import options, settings_of, title_of
from .tokens import token

_HELP = """\
The broker of the bus that lets the programs on this machine talk. Without a command it runs until Ctrl-C or SIGTERM.

Every option can also stand in the environment (IPC_BROKER_GRACE, IPC_BROKER_LIMITS_CALLS) or in a TOML file:

\b
    listen = ["unix:///run/bus.sock", "tcp://127.0.0.1:5123"]
    log_level = "warn"
    [limits]
    calls = 1000

An option weighs more than the environment, the environment more than the file. Where nothing else is said, config.toml,
policy.toml, tokens.toml and services/ in the configuration folder are used, as far as they are there
($XDG_CONFIG_HOME/ipc-broker or ~/.config/ipc-broker). On SIGHUP policy, tokens and
services are read again.
"""


class _Group(click.Group):
    """Its many options stand under several titles."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        sections: dict[str, list[tuple[str, str]]] = {}
        for one in self.get_params(ctx):
            if (record := one.get_help_record(ctx)) is not None:
                sections.setdefault(title_of(one), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def main() -> NoReturn:
    use_utf8()
    command.main(prog_name="ipc-broker")
    raise AssertionError("click ends the process")


@click.pass_context
def _run(context: click.Context, /, **given: Any) -> None:
    context.obj = given  # for the commands: which files they are about
    if context.invoked_subcommand is not None:
        return
    try:
        settings = settings_of(given)
        log_to_stderr(settings.log_level, settings.log_format)
        _serve(settings, lambda: settings_of(given))
    except ConfigError as error:
        fail(error, WRONG_USAGE)
    except ListenFailed as error:
        fail(error, CANNOT_LISTEN)


def _serve(settings: BrokerConfig, reread: Callable[[], BrokerConfig]) -> None:
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(run_broker(settings, reread=reread, optional_services=(seed_folder(),)))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed; None stands for the platform's own loop, which on Windows serves pipes."""
    if sys.platform != "win32":
        try:
            import uvloop
        except ImportError:
            return None
        return uvloop.new_event_loop
    return None


command = _Group(
    "ipc-broker",
    help=_HELP,
    invoke_without_command=True,
    callback=_run,
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=lambda context, _, wanted: _tell_version(context) if wanted else None,
            help="show the version",
        ),
        *options(),
    ],
    commands=[token, policy, check, install],
    subcommand_metavar="[COMMAND]",
)


def _tell_version(context: click.Context) -> None:
    click.echo(f"ipc-broker {VERSION}")
    context.exit()


if __name__ == "__main__":
    main()
