"""Runs what a document shows, as somebody would who follows it line by line.

The blocks of one section of level two are a story, or those of a whole document that says so (`blocks.ONE_STORY`): they
are played in order, in a folder and against a broker of their own, which all programs find in `BROKER_ADDR`.

- A `python` block that begins with `# NAME.py` is saved under that name, and must be run later. Any other is run at once:
  each of its `print(...)  # TEXT` has to print just that.
- A `python` block that begins with `# test_NAME.py` is run by pytest at once, and has to pass. What it imports of the files
  saved before counts as run.
- In a `console` block the lines behind `$ ` are run. What is shown below them is all that they print; times, durations,
  addresses, tokens, users, and the numbers of processes and connections may differ. A command fails if and only if a line
  begins with its name and a colon, or `policy check` says that somebody may not do it.
- `<!-- keeps running -->` above a `console` block: its one command runs on until the story ends. The next block comes
  when the first line that is shown was printed, or, with `<!-- keeps running, serves NAME -->`, when that object is
  registered. All that is shown must have been printed when the story ends, in that order; what it logs may stand between.
- `<!-- stops COMMAND -->` above a block: the command that was started so is stopped before, and has then said all.
  `<!-- kills COMMAND -->` gives it no time for that.
- A `toml` block that begins with `# NAME.toml` is saved under that name; a command that names the file is given it.
- `ipc-broker` that keeps running is the story's broker, wherever it says that it listens; a story that does not start it is
  given one, unless it has nothing but tests.
"""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import ipc_broker
from ipc_broker.cli.children import Child
from ipc_broker.sync import connect
from tests.cli.programs import environment
from tests.docs.blocks import ONLY_SHOWN, Block
from tests.insecure import IN_ENVIRONMENT

PATIENCE = 30.0

_SOURCES = str(Path(ipc_broker.__file__).parents[1])
_PROGRAMS = {"rob": "ipc_broker.cli.rob", "ipc-broker": "ipc_broker"}
_FILE_NAME = re.compile(r"# (\w+\.(?:py|toml))\n")
_TEST_NAME = re.compile(r"# test_\w+\.py\n")
_IMPORTED = re.compile(r"^(?:from|import) (\w+)", re.MULTILINE)
_PRINTED = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)
_SERVES = re.compile(r"keeps running, serves ([\w.]+)")
_ENDS = re.compile(r"(stops|kills) (.+)")
_ADDRESS = r"(?:unix|tcp|pipe)://[^\s,;)]+"
_DIFFERS = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"), "TIME"),
    (re.compile(f"{_ADDRESS}(?:, {_ADDRESS})*"), "ADDRESS"),
    (re.compile(r"\d\d:\d\d:\d\d\.\d{3}"), "TIME"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"), "TIME"),
    (re.compile(r"\bipcb_[0-9a-f]{12}_[0-9a-f]{64}\b"), "TOKEN"),
    (re.compile(r"\b(?:user '[\w\\-]+'|an unknown user) (?=may )"), "SOMEBODY "),
    (re.compile(r" +\d+(?:\.\d+)? [mµ]s"), " DURATION"),
    (re.compile(r"\b(process|connection) \d+"), r"\1 NUMBER"),
)


class Command(NamedTuple):
    line: str
    shown: list[str]


class Running(NamedTuple):
    command: Command
    child: Child


def commands_of(block: Block) -> list[Command]:
    commands: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            commands.append(Command(line[2:], []))
        else:
            assert commands, f"{block.where}: a console block begins with a command"
            commands[-1].shown.append(line)
    for command in commands:
        while command.shown and not command.shown[-1]:
            command.shown.pop()
    return commands


def started_by(block: Block) -> list[Command]:
    """The commands that go on when the block is over."""
    return commands_of(block) if block.mark.startswith("keeps running") else []


def is_broker(command: Command) -> bool:
    return command.line.split()[0] == "ipc-broker"


def play(blocks: Sequence[Block], folder: Path | None = None) -> None:
    """With a `folder`, in which files that commands name are looked for, the blocks must save none."""
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ipc-broker-docs-")))
        _Story(blocks, folder, stack).play()


class _Story:
    def __init__(self, blocks: Sequence[Block], folder: Path, stack: ExitStack) -> None:
        self._blocks = blocks
        self._folder = folder
        self._stack = stack
        self._saved: set[str] = set()
        self._running: list[Running] = []
        self._environ = environment(
            IPC_BROKER_LISTEN="tcp://127.0.0.1:0", PYTHONPATH=_SOURCES, PYTHONUTF8="1", **IN_ENVIRONMENT
        )

    def play(self) -> None:
        has_broker = any(is_broker(command) for block in self._blocks for command in started_by(block))
        if not has_broker and not self._only_tests():
            self._start(Command("ipc-broker", []))
        for block in self._blocks:
            if (ends := _ENDS.fullmatch(block.mark)) is not None:
                self._end(ends[2], kills=ends[1] == "kills")
            if block.kind == "toml":
                self._save(block)
            elif block.kind == "python":
                self._python(block)
            elif block.mark.startswith("keeps running"):
                self._start_and_wait(block)
            else:
                for command in commands_of(block):
                    self._run(block, command)
        for running in self._running:
            self._has_said_all(running)
        assert not self._saved, f"{self._blocks[0].where}: {', '.join(self._saved)} is shown and never run"

    def _only_tests(self) -> bool:
        texts = [block.text if block.kind == "python" else "" for block in self._blocks]
        return any(map(_TEST_NAME.match, texts)) and all(map(_FILE_NAME.match, texts))

    def _has_said_all(self, running: Running) -> None:
        command, child = running
        seen = 0
        for line in command.shown:
            while seen == 0 or _alike(child.said[seen - 1 : seen]) != _alike([line]):
                if seen == len(child.said):
                    child.wait_for_line("", PATIENCE)
                seen += 1

    def _end(self, line: str, *, kills: bool) -> None:
        [running] = [running for running in self._running if running.command.line == line]
        if kills:
            self._has_said_all(running)
            running.child.kill()
        running.child.stop()
        self._has_said_all(running)
        self._running.remove(running)

    def _save(self, block: Block) -> str:
        named = _FILE_NAME.match(block.text)
        name = named[1] if named else f"line_{block.line}.py"
        (self._folder / name).write_text(block.text, encoding="utf-8")
        self._saved.add(name)
        return name

    def _python(self, block: Block) -> None:
        name = self._save(block)
        if _TEST_NAME.match(block.text):
            self._test(block, name)
        elif not _FILE_NAME.match(block.text):
            self._run(block, Command(f"python {name}", _PRINTED.findall(block.text)))

    def _test(self, block: Block, name: str) -> None:
        self._saved -= {name, *(f"{module}.py" for module in _IMPORTED.findall(block.text))}
        # Without the plugins of others, it starts faster.
        environ = self._environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        arguments = ["-p", "ipc_broker.pytest_plugin", "-p", "no:cacheprovider", str(self._folder / name)]
        with Child(name, ["-m", "pytest", "-W", "error", *arguments], environ) as child:
            status = child.wait(PATIENCE)
        assert status == 0, f"{block.where}: pytest ended with status {status}:\n" + "\n".join(child.said)

    def _run(self, block: Block, command: Command) -> None:
        with self._child(command) as child:
            status = child.wait(PATIENCE)
            _compare(command, child.said, block)
        told = any(line.startswith(f"{shlex.split(command.line)[0]}: ") for line in command.shown)
        told |= "policy check" in command.line and " may not " in command.shown[-1]
        assert bool(status) == told, f"{block.where}: {command.line} ended with status {status}"

    def _start_and_wait(self, block: Block) -> None:
        [command] = commands_of(block)
        serves = _SERVES.fullmatch(block.mark)
        assert serves or command.shown, f"{block.where}: nothing tells when {command.line} has started"
        child = self._start(command)
        if serves:
            with connect(self._environ["BROKER_ADDR"]) as client:
                client.wait_for(serves[1], PATIENCE)
        elif not is_broker(command):
            child.wait_for_line(command.shown[0], PATIENCE)

    def _start(self, command: Command) -> Child:
        child = self._stack.enter_context(self._child(command))
        self._running.append(Running(command, child))
        if is_broker(command):
            address = child.wait_for_line(" listens on ", PATIENCE).rpartition(" ")[2]
            self._environ["BROKER_ADDR"] = address.removeprefix("tcp://")
        return child

    def _child(self, command: Command) -> Child:
        program, *words = shlex.split(command.line)
        self._saved.difference_update(words)
        arguments = words if program == "python" else ["-m", _PROGRAMS[program], *words]
        return Child(command.line, ["-W", "error", *arguments], self._environ, self._folder)


def _compare(command: Command, said: Sequence[str], block: Block) -> None:
    printed = "\n".join(said)
    assert _alike(said) == _alike(command.shown), f"{block.where}: `{command.line}` printed:\n{printed}"


def _alike(lines: Sequence[str]) -> list[str]:
    """Without what is another in every run, and without empty lines at the end."""
    text = "\n".join(lines).rstrip()
    for pattern, name in _DIFFERS:
        text = pattern.sub(name, text)
    return text.splitlines()


def stories(blocks: Sequence[Block]) -> Iterator[tuple[str, list[Block]]]:
    """Each section that has something to run, and its blocks."""
    sections: dict[str, list[Block]] = {}
    for block in blocks:
        if block.mark == ONLY_SHOWN:
            continue
        if block.kind in ("python", "console") or (block.kind == "toml" and _FILE_NAME.match(block.text)):
            sections.setdefault(block.section, []).append(block)
    yield from sections.items()
