"""`ipc-broker install`: writes the units by which systemd runs the broker. It starts nothing and asks nobody."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from .folder import configuration_folder
from .units import Scope, Unit, units_for

SYSTEM_FOLDER = Path("/etc/systemd/system")


@click.command(
    "install", help="Write units for systemd: a socket, at which programs can connect at once, and the broker."
)
@click.option("--user", "scope", flag_value="user", help="for your own programs, while you are logged in")
@click.option("--system", "scope", flag_value="system", help="for all users of this machine; needs root")
@click.option("--print", "only_print", is_flag=True, help="show what would be written, and write nothing")
@click.option("--force", is_flag=True, help="replace units that say something else")
def install(scope: Scope | None, only_print: bool, force: bool) -> None:
    """With this very interpreter, wherever it is: a virtual environment needs nothing more."""
    if scope is None:
        raise click.UsageError("say for whom: --user, or --system")
    units = units_for(scope, [sys.executable, "-m", "ipc_broker"])
    if only_print:
        click.echo("\n".join(f"# {_folder(scope) / unit.file}\n{unit.text}" for unit in units), nl=False)
        return
    if sys.platform != "linux":
        raise click.ClickException(
            "there is no systemd here; docs/services.md says how launchd and Windows run a broker"
        )
    _write(units, _folder(scope), force=force)
    systemctl = "systemctl --user" if scope == "user" else "systemctl"
    click.echo(f"Now start it:\n    {systemctl} daemon-reload\n    {systemctl} enable --now ipc-broker.socket")


def _folder(scope: Scope) -> Path:
    if scope == "system":
        return SYSTEM_FOLDER
    return configuration_folder(os.environ).parent / "systemd" / "user"


def _write(units: list[Unit], folder: Path, *, force: bool) -> None:
    """All or none where one is in the way. Raises ClickException."""
    try:
        for unit in units:
            file = folder / unit.file
            if file.exists() and file.read_text(encoding="utf-8") != unit.text and not force:
                raise click.ClickException(
                    f"{file} says something else already; look at it, and replace it with --force"
                )
        folder.mkdir(parents=True, exist_ok=True)
        for unit in units:
            (folder / unit.file).write_text(unit.text, encoding="utf-8")
            click.echo(f"wrote {folder / unit.file}")
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename}: {error.strerror}") from error
