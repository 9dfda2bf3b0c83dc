"""What the pages of docs/ are given out of the sources, and that the site has all of them."""

from __future__ import annotations

import re

import click

from ipc_broker import __all__ as public_names
from ipc_broker.cli.broker import command
from ipc_broker.cli.details import DETAILS
from ipc_broker.cli.words import COMMANDS, OPTIONS
from ipc_broker.config import SECTIONS, BrokerConfig
from tests.docs.blocks import DOCUMENTS, ROOT
from tools.pages import GENERATED, on_page_markdown

SETTINGS = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
PAGES = [path.relative_to(ROOT / "docs").as_posix() for path in DOCUMENTS if path.is_relative_to(ROOT / "docs")]


def page(name: str) -> str:
    return on_page_markdown((ROOT / "docs" / name).read_text(encoding="utf-8"))


def test_every_command_of_rob_and_every_option_is_there() -> None:
    shown = page("reference/rob.md")
    assert re.findall(r"^## rob (.*)$", shown, re.MULTILINE) == list(COMMANDS)
    assert set(re.findall(r"^\| `--([a-z-]+)", shown, re.MULTILINE)) == set(OPTIONS)
    assert all(one.usage in shown for one in COMMANDS.values())
    assert all(details in shown for details in DETAILS.values())


def test_every_setting_of_the_broker_is_there_in_its_three_forms() -> None:
    shown = page("reference/ipc-broker.md")
    options = re.findall(r"^\| `--([a-z-]+)", shown, re.MULTILINE)
    assert options == [option.opts[0].removeprefix("--") for option in command.params]
    keys = [field for field in BrokerConfig.__struct_fields__ if field not in SECTIONS]
    keys += [f"{name}.{field}" for name, section in SECTIONS.items() for field in section.__struct_fields__]
    for key in keys:
        assert f"| `IPC_BROKER_{key.replace('.', '_').upper()}` | `{key}` |" in shown


def test_an_option_without_a_value_is_shown_without_one() -> None:
    flag = click.Option(["--fast"], is_flag=True, help="hurry")
    command.params.append(flag)
    try:
        assert "| `--fast` |" in GENERATED["broker"]()
    finally:
        command.params.remove(flag)


def test_every_error_is_in_the_tree_and_every_public_name_in_the_reference() -> None:
    reference = "".join(page(name) for name in PAGES if name.startswith("reference/"))
    missing = [name for name in public_names if not re.search(rf"\b{name}\b", reference)]
    assert missing == ["__version__"]


def test_examples_are_shown_with_their_session_and_their_source() -> None:
    shown = page("examples.md")
    for example in (ROOT / "examples").glob("*.py"):
        last = example.read_text(encoding="utf-8").splitlines()[-1].strip()
        assert f"`examples/{example.name}`" in shown
        assert last in shown
    assert shown.count("```console\n$ python examples/") == len(list((ROOT / "examples").glob("*.py")))


def test_every_page_is_in_the_navigation() -> None:
    assert sorted(re.findall(r"[\w/-]+\.md", SETTINGS.partition("nav:\n  -")[2])) == sorted(PAGES)
