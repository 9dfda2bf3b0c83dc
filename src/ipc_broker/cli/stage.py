"""How `rob demo` looks: numbered steps for a person, or one JSON document for each step."""

from __future__ import annotations

import sys
from textwrap import indent

from rich.console import Console
from rich.rule import Rule
from rich.syntax import Syntax
from rich.text import Text

from .output import write_result
from .render import render_json, render_message

_MARGIN = "   "


class Stage:
    """A step begins with what is done and how a person would do it, and ends with what came back."""

    def __init__(self, *, as_json: bool) -> None:
        self._console = None if as_json else Console(file=sys.stdout, highlight=False)
        self._number = 0
        self._begun: dict[str, str] = {}

    def opening(self, title: str, text: str) -> None:
        self._print(Rule(Text(title, style="bold"), align="left"))
        self._print(Text(f"\n{text}"))

    def begin(self, title: str, text: str, *, shell: str = "", python: str = "") -> None:
        """`shell` is a command line, `python` a program; one of them, or neither."""
        self._number += 1
        self._begun = {"step": title, "shell": shell, "python": python}
        self._print(Text.assemble("\n", (f"{self._number}. {title}", "bold cyan")))
        self._print(Text(indent(text, _MARGIN), style="dim"))
        if python:
            self._print(Text("\n").append_text(self._highlighted(indent(python.strip(), _MARGIN))))
        if shell:
            self._print(Text.assemble("\n", _MARGIN, ("$ ", "bold green"), (shell, "bold")))

    def end(self, output: str) -> None:
        """`output` is shown as it stands."""
        if self._console is None:
            document = {name: value for name, value in (self._begun | {"output": output}).items() if value}
            write_result(render_json(document) + "\n")
        elif output:
            self._print(Text(indent(render_message(output.strip("\n")), _MARGIN), style="yellow"))

    def closing(self, text: str) -> None:
        self._print(Text(f"\n{text}\n"))

    def _print(self, what: Text | Rule) -> None:
        if self._console is not None:
            with self._console.capture() as captured:
                self._console.print(what, soft_wrap=isinstance(what, Text))
            write_result(captured.get())

    def _highlighted(self, code: str) -> Text:
        highlighted = Syntax("", "python", theme="ansi_dark").highlight(code)
        highlighted.rstrip()
        return highlighted
