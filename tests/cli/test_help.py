from __future__ import annotations

import re

import pytest

from ipc_broker.cli.details import DETAILS
from ipc_broker.cli.help import SECTIONS, help_text
from ipc_broker.cli.words import COMMANDS, Command


def test_the_overview_has_every_command_and_what_the_exit_status_means() -> None:
    text = help_text(None)
    for command in COMMANDS.values():
        assert re.search(rf"^  {command.name} +{re.escape(command.help)}$", text, re.MULTILINE)
    assert sorted(name for names in SECTIONS.values() for name in names) == sorted(COMMANDS)
    assert "3 no broker" in " ".join(text.split())
    assert "--count" not in text


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_command_has_its_usage_and_its_options(command: Command) -> None:
    text = help_text(command)
    assert text.startswith(f"Usage: {command.usage} [OPTIONS]\n")
    for option in command.options:
        assert f"--{option.name}" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert text.endswith("print this help\n")


def test_details_are_of_commands() -> None:
    assert DETAILS.keys() <= COMMANDS.keys()
