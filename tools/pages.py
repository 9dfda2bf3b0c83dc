"""What the pages of docs/ show and do not say themselves: mkdocs calls this as a hook (mkdocs.yml).

In a page `<!-- generated: NAME -->` stands for what is made out of the sources here, so that nothing is written twice.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from ipc_broker import errors
from ipc_broker.cli.broker import command
from ipc_broker.cli.details import DETAILS
from ipc_broker.cli.settings import PREFIXES
from ipc_broker.cli.words import COMMANDS, OPTIONS, Command, Option
from ipc_broker.config_sources import ENVIRONMENT_PREFIX

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

_MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """What mkdocs asks for each page, before it becomes HTML."""
    return _MARK.sub(lambda mark: GENERATED[mark[1]](), markdown)


def commands_of_rob() -> str:
    """Each command with its usage, what its `--help` says, and its own options; behind them what goes with all."""
    parts = [part for one in COMMANDS.values() for part in _command(one)]
    common = [option for option in OPTIONS.values() if not option.only]
    return "\n\n".join([*parts, "## Options of all commands", _options(common)])


def _command(one: Command) -> Iterator[str]:
    yield f"## rob {one.name}"
    yield f"{one.help[0].upper()}{one.help[1:]}."
    yield _block("text", one.usage)
    if own := [option for option in one.options if option.only]:
        yield _options(own)
    if details := DETAILS.get(one.name):
        yield _block("text", details)


def _options(options: list[Option]) -> str:
    rows = [(f"`{f'--{option.name} {option.value}'.rstrip()}`", _sentence(option.help)) for option in options]
    return _table(("option", "what it does"), rows)


def options_of_broker() -> str:
    """Each option of `ipc-broker` with its variable in the environment and its key in the file."""
    rows = [row for option in command.params if isinstance(option, click.Option) for row in _setting(option)]
    return _table(("option", "environment", "in the file", "what it is"), rows)


def _setting(option: click.Option) -> Iterator[tuple[str, ...]]:
    name = str(option.name)
    section, prefix = next((one for one in PREFIXES.items() if name.startswith(one[1])), ("", ""))
    key = ".".join(filter(None, (section, name.removeprefix(prefix))))
    variable = ENVIRONMENT_PREFIX + key.replace(".", "_").upper()
    shown = "" if option.is_flag else f" {option.make_metavar(click.Context(command))}"
    words = f"`{option.opts[0]}{shown}`"
    if name in ("config", "version"):
        yield words, "", "", _sentence(option.help or "")
    else:
        yield words, f"`{variable}`", f"`{key}`", _sentence(option.help or "")


def every_error() -> str:
    """The tree, as the docstring of `ipc_broker.errors` draws it, and each of them as mkdocstrings shows it."""
    tree = (inspect.getdoc(errors) or "").partition("\n\n")[2]
    kinds = [
        name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.IPCError)
    ]
    return "\n\n".join([_block("text", tree), *(_documented(f"{errors.__name__}.{name}") for name in kinds)])


def _documented(name: str) -> str:
    """Without the constructor, which is not for those who catch them."""
    return f"::: {name}\n    options:\n      merge_init_into_class: false"


def examples() -> str:
    """Each example: what it shows, the session in its docstring, and its source."""
    return "\n\n".join(part for path in sorted(EXAMPLES.glob("*.py")) for part in _example(path))


def _example(path: Path) -> Iterator[str]:
    source = path.read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(source)) or ""
    headline, _, rest = docstring.partition("\n")
    yield f"## {path.stem.replace('_', ' ').capitalize()}"
    yield headline
    yield from _fenced_sessions(rest)
    code = source.rpartition(f'{docstring.rpartition(chr(10))[2]}\n"""\n')[2].strip("\n")
    yield f'??? example "`examples/{path.name}`"\n\n' + _indented(_block("python", code))


def _fenced_sessions(text: str) -> Iterator[str]:
    """What is indented as a console shows it, the rest as it is."""
    for part in text.strip("\n").split("\n\n"):
        lines = part.split("\n")
        if all(line.startswith("    ") for line in lines):
            yield _block("console", "\n".join(line.removeprefix("    ") for line in lines))
        else:
            yield part


def _block(kind: str, text: str) -> str:
    return f"```{kind}\n{text.rstrip()}\n```"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.split("\n"))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = (head, tuple("---" for _ in head), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _sentence(text: str) -> str:
    """Help as a cell of a table: words in brackets are no links, and those between stars no emphasis."""
    return re.sub(r"([\[\]*<>_|])", r"\\\1", " ".join(text.split()))


GENERATED: dict[str, Callable[[], str]] = {
    "rob": commands_of_rob,
    "broker": options_of_broker,
    "errors": every_error,
    "examples": examples,
}
