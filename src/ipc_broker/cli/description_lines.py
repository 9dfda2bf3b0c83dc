"""What `rob describe` and `rob tree` show of an object, as lines of spans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..description import Interface, MethodDescription, ObjectDescription, Owner, Schema
from ..observation import TopicState
from .quantities import counted
from .render import render_line, render_name
from .schema import kind_of, properties_of, reference_of, required_in, values_of
from .terminal import Span
from .type_text import TypeText, default_text, parameter_texts, signature_text

Line = list[Span]

OPAQUE = (
    "Opaque: its worker tells nothing of its methods. KEY=VALUE words, or those of a signature, reach it as they are."
)
_TYPES = TypeText()
_INDENT = "    "


def object_lines(description: ObjectDescription, method: str, width: int) -> list[Line]:
    """All of it, or the one `method`, which it must have. Lines of code are at most `width` cells wide where possible."""
    interface = description.interface
    if interface is None:
        return [*_head(description), [], [Span(OPAQUE, "yellow")]]
    if method:
        shown = {method: interface.methods[method]}
        lines = [*_method(method, shown[method], width)]
    else:
        shown = interface.methods
        lines = _head(description)
        lines += [[], *_text(interface.doc)] if interface.doc else []
        spaced = True  # around those with a docstring
        for name, one in shown.items():
            lines += [[]] if spaced or one.doc else []
            lines += _method(name, one, width)
            spaced = bool(one.doc)
        lines += [] if shown else [[], [Span("It has no methods.", "dim")]]
    names = _mentioned(shown.values(), interface.definitions)
    for name in names:
        lines += [[], *_definition(name, interface.definitions[name])]
    return lines


def _head(description: ObjectDescription) -> list[Line]:
    interface = description.interface
    first = [Span(render_name(description.object), "bold")]
    if interface is not None and interface.type:
        first.append(Span(f"  {render_line(interface.type)}", "cyan"))
    lines = [first]
    for owner in description.owners:
        what = "served by" if owner.state == "serving" else "stands by:"
        room = f", {owner.running} of at most {owner.concurrency} calls at once" if owner.concurrency else ""
        direct = f", {counted(owner.direct, 'caller')} may call it without the broker between" if owner.direct else ""
        lines.append([Span(f"{what} {owner_text(owner)}{room}{direct}", "dim")])
    if description.mode != "exclusive":
        lines.append([Span(f"mode {render_line(description.mode)}", "dim")])
    if description.waiting:
        lines.append([Span(f"{counted(description.waiting, 'call')} waiting for room", "yellow")])
    return lines


def owner_text(owner: Owner) -> str:
    """As the broker tells of peers elsewhere: `'calculator' (process 12)`."""
    where = f"process {owner.pid}" if owner.pid is not None else render_line(owner.address)
    if not owner.name:
        return where or "a program without a name"
    return f"'{render_line(owner.name)}' ({where})" if where else f"'{render_line(owner.name)}'"


def _method(name: str, method: MethodDescription, width: int) -> list[Line]:
    returns = _TYPES.of(method.returns)
    tail = f") -> {f'Iterator[{returns}]' if method.stream else returns}"
    return [*_code(name, parameter_texts(method.parameters, _TYPES), tail, width), *_text(method.doc, _INDENT)]


def _definition(name: str, schema: Schema) -> list[Line]:
    shown = Span(render_line(name), "bold cyan")
    doc = schema.get("description")
    about = _text(doc, _INDENT) if isinstance(doc, str) else []
    kind = kind_of(schema)
    if kind == "object":
        required = required_in(schema)
        fields = [
            f"{render_name(key)}: {_TYPES.of(one)}{'' if key in required else f' = {_default(one)}'}"
            for key, one in properties_of(schema).items()
        ]
        lines = [[Span(f"{_INDENT}{render_line(field)}")] for field in fields] or [[Span(f"{_INDENT}...")]]
        return [[Span("class ", "magenta"), shown, Span(":")], *about, *lines]
    text = _TYPES.literal(values_of(schema)) if kind == "enum" else _TYPES.of(schema)
    return [[Span("type ", "magenta"), shown, Span(f" = {render_line(text)}")], *about]


def _default(schema: Schema) -> str:
    return default_text(schema["default"], schema) if "default" in schema else "..."


def _code(name: str, parts: list[str], tail: str, width: int) -> list[Line]:
    """`name(part, part` and the tail, or a line for each part where that is too wide."""
    head = Span(render_line(name), "bold green")
    parts = list(map(render_line, parts))
    tail = render_line(tail)
    if not parts or len(head.text) + sum(len(part) + 2 for part in parts) + len(tail) <= width:
        return [[head, Span(f"({', '.join(parts)}{tail}")]]
    return [[head, Span("(")], *([Span(f"{_INDENT}{part},")] for part in parts), [Span(tail)]]


def _text(text: str, indent: str = "") -> list[Line]:
    return [[Span(f"{indent}{render_line(line)}" if line.strip() else "")] for line in text.splitlines()]


def _mentioned(methods: Iterable[MethodDescription], definitions: Mapping[str, Schema]) -> list[str]:
    """The definitions that the methods need, and those that these need."""
    found: dict[str, None] = {}
    waiting: list[object] = [
        schema for method in methods for schema in (*(one.schema for one in method.parameters), method.returns)
    ]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            name = reference_of(one)
            if name in definitions and name not in found:
                found[name] = None
                waiting.append(definitions[name])
            waiting += one.values()
    return list(found)


# The tree


def tree_lines(name: str, description: ObjectDescription | None, topics: list[TopicState]) -> list[Line]:
    """`description` is None for an object that nobody serves, but that has topics."""
    interface = None if description is None else description.interface
    branches = [*_method_branches(interface), *map(_topic_branch, topics)]
    lines = [[Span(render_name(name), "bold"), Span(f"  {_in_short(description)}", "dim")]]
    for place, branch in enumerate(branches):
        lines.append([Span("└── " if place == len(branches) - 1 else "├── ", "dim"), *branch])
    return lines


def _in_short(description: ObjectDescription | None) -> str:
    if description is None:
        return "served by nobody"
    interface = description.interface
    kind = "opaque" if interface is None else render_line(interface.type)
    owners = [owner_text(one) for one in description.owners if one.state == "serving"]
    by = f"served by {owners[0]}" if owners else ""
    more = f" and {len(owners) - 1} more" if len(owners) > 1 else ""
    return ", ".join(part for part in (kind, by) if part) + more


def _method_branches(interface: Interface | None) -> Iterator[Line]:
    for name, method in interface.methods.items() if interface is not None else ():
        signature = render_line(signature_text(name, method))
        shown = render_line(name)
        yield [Span(shown, "green"), Span(signature[len(shown) :])]


def _topic_branch(topic: TopicState) -> Line:
    about = [counted(topic.subscribers, "subscriber")] if topic.subscribers else []
    about += ["retained"] if topic.retained else []
    return [
        Span("topic ", "magenta"),
        Span(render_name(topic.topic)),
        Span(f"  {', '.join(about)}" if about else "", "dim"),
    ]
