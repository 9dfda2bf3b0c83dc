"""Help for `rob`, out of the same tables that its words are read by."""

from __future__ import annotations

from click import HelpFormatter

from .details import DETAILS
from .words import COMMANDS, OPTIONS, Command, Option

SECTIONS = {
    "Use the bus": ("call", "send", "listen", "list", "wait"),
    "See what there is": ("tree", "describe", "stubs"),
    "See what happens": ("monitor", "top", "why"),
    "Serve": ("serve", "mock"),
    "Keep and play again": ("record", "replay"),
    "Services": ("services", "start", "stop"),
    "The broker": ("ping", "bench", "demo"),
    "The shell": ("completion",),
}
"""Every command, as the overview groups them."""


def help_text(command: Command | None) -> str:
    return _overview() if command is None else _command_help(command)


def _overview() -> str:
    formatter = HelpFormatter()
    formatter.write_usage("rob", "COMMAND [WORDS...] [OPTIONS]")
    formatter.write_paragraph()
    formatter.write_text("Calls, events and more on the bus that the programs on this machine share.")
    widest = max(map(len, COMMANDS))
    for title, names in SECTIONS.items():
        with formatter.section(title):
            formatter.write_dl([(name.ljust(widest), COMMANDS[name].help) for name in names])
    _write_options(formatter, [option for option in OPTIONS.values() if not option.only])
    formatter.write_paragraph()
    formatter.write_text("Options may stand before or after the words. `rob COMMAND --help` says more.")
    formatter.write_paragraph()
    formatter.write_text("Exit status: 0 done; 1 the call failed or too little came; 2 wrong usage; 3 no broker.")
    return formatter.getvalue()


def _command_help(command: Command) -> str:
    formatter = HelpFormatter()
    formatter.write(f"Usage: {command.usage} [OPTIONS]\n\n")
    formatter.write_text(f"{command.help[0].upper()}{command.help[1:]}.")
    if details := DETAILS.get(command.name):
        formatter.write(f"\n{details}")
    _write_options(formatter, command.options)
    return formatter.getvalue()


def _write_options(formatter: HelpFormatter, options: list[Option]) -> None:
    with formatter.section("Options"):
        formatter.write_dl([(f"--{option.name} {option.value}".rstrip(), option.help) for option in options])
