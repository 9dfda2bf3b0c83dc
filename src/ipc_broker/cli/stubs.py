"""The source of a Protocol that types an object, out of what its worker tells of it.

Nothing that comes from the bus gets into the source as anything else than a legal name, a literal or a docstring.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..description import Interface, MethodDescription, Parameter
from .legal_names import as_class, is_legal
from .literals import comment, docstring
from .stub_classes import INDENT, WIDTH, class_lines, default_source, fields_of
from .stub_types import StubTypes, is_enum
from .type_text import parameter_texts, quoted


def stubs_of(object_name: str, interface: Interface, *, blocking: bool) -> tuple[str, str]:
    """The source, and the name of the Protocol in it: of `async def`s, or for the `blocking` client of `def`s."""
    members = {name for schema in interface.definitions.values() for name in fields_of(schema).values()}
    types = StubTypes(interface, {*members, *interface.methods})
    protocol = types.scope.take(as_class(interface.type) or as_class(object_name) or "Api")
    body: list[str] = []
    for name, method in interface.methods.items():
        body += _method_lines(name, method, types, blocking=blocking)
    head = [f"class {protocol}({types.known('Protocol')}):"]
    doc = [*docstring(interface.doc, INDENT), *([""] if body else [])] if interface.doc.strip() else []
    classes = _classes(types)
    only_comments = all(line == "" or line.lstrip().startswith("#") for line in body)
    blocks = [*classes, [*head, *doc, *body, *([f"{INDENT}pass"] if only_comments and not doc else [])]]
    about = f"""The object {quoted(object_name)} as its worker describes it. `rob stubs` has written this.

client.object({quoted(object_name)}, {protocol}, check=True) is typed by it.
"""
    lines = [*docstring(about, ""), "", "from __future__ import annotations", "", *_import_lines(types)]
    for block in blocks:
        lines += ["", "", *block]
    return "\n".join(_without_blank_ends(lines)) + "\n", protocol


def _classes(types: StubTypes) -> list[list[str]]:
    """Enums first: defaults name their members."""
    enums: list[list[str]] = []
    structs: list[list[str]] = []
    done: set[str] = set()
    while waiting := [name for name in types.classes if name not in done]:
        for name in waiting:
            schema = types.definitions[name]
            (enums if is_enum(schema) else structs).append(class_lines(types.classes[name], schema, types))
            done.add(name)
    return [*enums, *structs]


def _import_lines(types: StubTypes) -> list[str]:
    modules: dict[str, list[str]] = {}
    for module, name in types.imports():
        modules.setdefault(module, []).append(name)
    ours = modules.pop("msgspec", [])
    lines = [f"from {module} import {', '.join(names)}" for module, names in sorted(modules.items())]
    return [*lines, *(["", f"from msgspec import {', '.join(ours)}"] if ours else [])]


def _method_lines(name: str, method: MethodDescription, types: StubTypes, *, blocking: bool) -> list[str]:
    parameters = _legal_order(method.parameters)
    if parameters is None or not is_legal(name) or name.startswith("_"):
        return [comment(f"{name!r} is left out: Python cannot write it. client.call() can.", INDENT), ""]

    def default_of(one: Parameter) -> str:
        return default_source(one.schema, types, one.default) or "..."

    texts = ["self", *parameter_texts(parameters, types, default_of)]
    returns = types.of(method.returns)
    if method.stream:
        returns = f"{types.known('Iterator' if blocking else 'AsyncIterator')}[{returns}]"
    define = "def" if blocking or method.stream else "async def"
    line = f"{INDENT}{define} {name}({', '.join(texts)}) -> {returns}:"
    doc = docstring(method.doc, INDENT * 2) if method.doc.strip() else []
    if len(line) + (0 if doc else 4) <= WIDTH:
        head = [line]
    else:
        head = [f"{INDENT}{define} {name}(", *(f"{INDENT * 2}{text}," for text in texts), f"{INDENT}) -> {returns}:"]
    if not doc:
        return [*head[:-1], f"{head[-1]} ...", ""]
    return [*head, *doc, f"{INDENT * 2}...", ""]


def _legal_order(parameters: Sequence[Parameter]) -> list[Parameter] | None:
    """Those that can be written, as Python wants them; None where one that must be given cannot."""
    kept: list[Parameter] = []
    seen = {"self"}
    for one in parameters:
        if is_legal(one.name) and one.name not in seen:
            seen.add(one.name)
            kept.append(one)
        elif (one.required and one.kind not in ("list", "map")) or one.kind == "positional":
            return None
    kept.sort(key=lambda one: _ORDER[one.kind])
    for kind in ("list", "map"):
        several = [one for one in kept if one.kind == kind]
        kept = [one for one in kept if one not in several[1:]]
    placed = [one for one in kept if one.kind in ("", "positional")]
    optional = next((place for place, one in enumerate(placed) if not one.required), len(placed))
    return None if any(one.required for one in placed[optional:]) else kept


_ORDER = {"positional": 0, "": 1, "list": 2, "keyword": 3, "map": 4}


def _without_blank_ends(lines: list[str]) -> list[str]:
    """No blank line at the end of a block."""
    kept: list[str] = []
    for line in lines:
        if line or not kept or len(kept) < 2 or kept[-1] or kept[-2]:
            kept.append(line)
    while not kept[-1]:
        kept.pop()
    return kept
