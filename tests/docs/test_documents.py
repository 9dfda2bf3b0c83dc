"""Everything that a document shows is tried: programs and commands are run, messages are spoken, links are followed."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from ipc_broker import events, messages
from ipc_broker.activation.definition import parse_service
from ipc_broker.config import BrokerConfig
from ipc_broker.messages import Invalid, Message
from ipc_broker.protocol.codec import Codec
from ipc_broker.protocol.connection import Connection, Role
from ipc_broker.protocol.encodings import ENCODINGS
from ipc_broker.protocol.framing import HEADER_SIZE, SEED_MAX_FRAME, write_length
from ipc_broker.security.policy_file import parse_policy
from tests.docs.blocks import DOCUMENTS, ONLY_SHOWN, ROOT, Block, blocks_of, blocks_of_kind
from tests.docs.conversations import Conversation
from tests.docs.stories import play, stories

STORIES = [
    pytest.param(blocks, id=f"{document.stem}-{section}")
    for document in DOCUMENTS
    for section, blocks in stories(blocks_of(document))
]
TRIED = {"python", "console", "wire", "json", "hex", "toml"}
HELD_AGAINST_THE_SOURCES = "held against the sources"  # by another test
_HEX_LINE = re.compile(r"((?:[0-9a-f]{2} )+) +(\S.*)")
_LINK = re.compile(r"\]\(([^)#:]*)#?([^)#:]*)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_PROTOCOL = ROOT / "docs" / "protocol.md"


def blocks(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", [pytest.param(block, id=block.where) for block in blocks_of_kind(kind)])


def received(data: bytes) -> tuple[Message, Codec]:
    """The one message in the bytes, as the end that may receive it decodes it, and its encoding."""
    for role in Role:
        for codec in ENCODINGS.values():
            [(message, _)] = extended(role, codec).receive_data(data)
            if isinstance(message, events.Event):  # a client gets its value decoded
                value = codec.encode_payload(message.value)
                message = messages.Event(
                    message.object, message.topic, value, message.subscription_id, message.retained
                )
            if isinstance(message, events.Batch):
                values = codec.encode_payload(message.values)
                message = messages.Batch(message.object, message.topic, values, message.subscription_id)
            if not isinstance(message, Invalid):
                return message, codec
    raise AssertionError(f"neither end takes {data!r} for a message")


def extended(role: Role, codec: Codec) -> Connection:
    connection = Connection(role, lambda: None)
    connection.extend(codec.name, SEED_MAX_FRAME, SEED_MAX_FRAME)
    return connection


def sent(message: Message, codec: Codec) -> bytes:
    if isinstance(message, messages.Event) and not message.retained:
        return codec.event_frame(message.object_name, message.topic, message.args, message.subscription)
    return codec.encode(message)


def bytes_of(block: Block) -> bytes:
    data = b""
    for line in block.text.splitlines():
        found = _HEX_LINE.fullmatch(line)
        assert found is not None, f"{block.where}: bytes in hex and as text are expected: {line}"
        row = bytes.fromhex(found[1])
        assert found[2] == "".join(chr(byte) if 32 < byte < 127 else "." for byte in row)
        data += row
    return data


def test_what_is_not_tried_says_so() -> None:
    blocks = [block for document in DOCUMENTS for block in blocks_of(document)]
    untried = [block for block in blocks if block.kind not in TRIED or block.mark == ONLY_SHOWN]
    assert [block.where for block in untried if block.mark not in (ONLY_SHOWN, HELD_AGAINST_THE_SOURCES)] == []
    assert [block.where for block in untried if block.kind in ("python", "wire")] == []


@pytest.mark.parametrize("story", STORIES)
def test_what_is_shown_runs(story: list[Block]) -> None:
    play(story)


@blocks("wire")
def test_the_broker_answers_as_shown(block: Block) -> None:
    Conversation().replay(block.text)


@blocks("hex")
def test_a_frame_shown_in_hex_is_a_message_and_encoded_so_again(block: Block) -> None:
    data = bytes_of(block)
    assert sent(*received(data)) == data


@blocks("json")
def test_a_body_shown_is_a_message_with_all_its_fields(block: Block) -> None:
    body = block.text.encode()
    message, codec = received(write_length(len(body)) + body)
    assert json.loads(sent(message, codec)[HEADER_SIZE:]) == json.loads(body)


@blocks("toml")
def test_settings_shown_are_settings(block: Block) -> None:
    if "[[rule]]" in block.text:
        assert parse_policy(block.text, block.where).rules
    elif block.text.startswith("# services/"):
        parse_service(block.text, block.where)
    else:
        assert msgspec.convert(tomllib.loads(block.text), BrokerConfig) != BrokerConfig()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_lead_somewhere(document: Path) -> None:
    missing = [
        (path, heading)
        for path, heading in _LINK.findall(document.read_text(encoding="utf-8"))
        if not leads_somewhere(document.parent / path if path else document, heading)
    ]
    assert missing == []


def leads_somewhere(target: Path, heading: str) -> bool:
    return target.exists() and (not heading or heading in anchors(target.read_text(encoding="utf-8")))


def anchors(text: str) -> set[str]:
    """By which a page's headings can be linked to."""
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(text)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_targets_of_make_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)`?", document.read_text(encoding="utf-8"))) <= targets
