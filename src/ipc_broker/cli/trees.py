"""`rob tree`: all objects, with their methods and topics."""

from __future__ import annotations

from msgspec import to_builtins

from ..description import ObjectDescription
from ..errors import NoSuchObject
from ..observation import TopicState
from ..sync import Client
from .connecting import check_name, checked_address, connected, json_line
from .description_lines import tree_lines
from .live_names import description_of, topics_of, with_suggestion
from .output import write_result
from .terminal import Span, Terminal, fitted
from .type_text import signature_text
from .words import Request

BROKER = "rob"


def tree(request: Request) -> None:
    for name in request.rest:
        check_name("OBJECT", name)
    with connected(checked_address(request), request) as client:
        topics: dict[str, list[TopicState]] = {}
        for topic in topics_of(client, "", request.patience):
            topics.setdefault(topic.object, []).append(topic)
        names = list(dict.fromkeys(request.rest)) or sorted({*client.objects(timeout=request.patience), *topics})
        found = {name: _described(client, name, topics, request) for name in names}
    if request.json:
        write_result(json_line([_document(name, one, topics.get(name, [])) for name, one in found.items()]))
        return
    terminal = Terminal()
    lines: list[list[Span]] = []
    for name, one in found.items():
        if name == BROKER and not request.rest:
            lines.append([Span(name, "bold"), Span("  the broker itself: rob tree rob", "dim")])
        else:
            lines += tree_lines(name, one, topics.get(name, []))
    for line in lines:
        write_result(terminal.shown(line if terminal.width is None else fitted(line, terminal.width)))


def _described(
    client: Client, name: str, topics: dict[str, list[TopicState]], request: Request
) -> ObjectDescription | None:
    """None for an object that nobody serves (any more). Raises NoSuchObject for one that was asked for."""
    try:
        return description_of(client, name, request.patience) or ObjectDescription(name)
    except NoSuchObject as error:
        if name in request.rest and name not in topics:
            raise with_suggestion(client, error, name) from error.__cause__
        return None


def _document(name: str, description: ObjectDescription | None, topics: list[TopicState]) -> dict[str, object]:
    interface = None if description is None else description.interface
    methods = {} if interface is None else interface.methods
    return {
        "object": name,
        "served": description is not None,
        "opaque": description is not None and interface is None,
        "owners": [] if description is None else to_builtins(description.owners),
        "methods": {method: signature_text(method, one) for method, one in methods.items()},
        "topics": to_builtins(topics),
    }
