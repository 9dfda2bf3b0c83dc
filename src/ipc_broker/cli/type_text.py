"""JSON Schema -> Python types as text: `list[int]`, `Point | None`, `datetime`.

What can be told of a type may come from anybody: names are shown as they are, and whoever writes code checks them first.
"""

from __future__ import annotations

from ..description import INTEGER_KEYS
from .schema import alternatives, format_of, is_bytes, kind_of, reference_of, schema_in, schemas_in, values_of

TYPE_CHECKING = False  # `typing` is not imported: a call's start-up is counted in milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..description import MethodDescription, Parameter, Schema

DEEPEST = 20
"""Levels of a type that are shown: what is deeper is Any."""

_PLAIN = {"integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_FORMATS: dict[str, str] = {
    "date-time": "datetime",
    "date": "date",
    "time": "time",
    "duration": "timedelta",
    "uuid": "UUID",
    "decimal": "Decimal",
}


class TypeText:
    """For people; who writes code says with the methods below how names are written there."""

    def of(self, schema: Schema, depth: int = 0) -> str:
        if depth > DEEPEST:
            return self.known("Any")
        if name := reference_of(schema):
            return self.reference(name)
        choices = schemas_in(schema, "anyOf") or schemas_in(schema, "oneOf")
        if choices:
            return self.union([(one, self.of(one, depth + 1)) for one in choices])
        if isinstance(schema.get("type"), list):
            return self.union([(one, self.of(one, depth + 1)) for one in alternatives(schema, {})])
        return self.limited(schema, self._plain(schema, depth))

    def _plain(self, schema: Schema, depth: int) -> str:
        kind = kind_of(schema)
        match kind:
            case "enum":
                return self.literal(values_of(schema))
            case "string":
                name = "bytes" if is_bytes(schema) else _FORMATS.get(format_of(schema), "str")
                return self.known(name)
            case "array":
                return self._array(schema, depth)
            case "object":
                inner = schema_in(schema, "additionalProperties")
                keys = "int" if schema_in(schema, "propertyNames").get("pattern") == INTEGER_KEYS else "str"
                return f"{self.known('dict')}[{self.known(keys)}, {self.of(inner, depth + 1)}]"
        name = _PLAIN.get(kind, "Any")
        return name if name == "None" else self.known(name)

    def _array(self, schema: Schema, depth: int) -> str:
        places = schemas_in(schema, "prefixItems")
        if places and schema.get("minItems") == schema.get("maxItems") == len(places):
            return f"{self.known('tuple')}[{', '.join(self.of(one, depth + 1) for one in places)}]"
        container = self.known("set" if schema.get("uniqueItems") is True else "list")
        return f"{container}[{self.of(schema_in(schema, 'items'), depth + 1)}]"

    def literal(self, values: list[object]) -> str:
        written = [quoted(one) if isinstance(one, str) else repr(one) for one in values if not isinstance(one, float)]
        if not written or len(written) < len(values):
            return self.known("Any")
        return f"{self.known('Literal')}[{', '.join(written)}]"

    def union(self, choices: list[tuple[Schema, str]]) -> str:
        return " | ".join(dict.fromkeys(text for _, text in choices))

    def known(self, name: str) -> str:
        """One of Python's own types, or of typing's."""
        return name

    def reference(self, name: str) -> str:
        """A type that has a definition."""
        return name

    def limited(self, schema: Schema, text: str) -> str:
        """With what is asked beyond the type."""
        return text


def quoted(text: str) -> str:
    """A literal, between double quotes where it holds no quotes."""
    written = repr(text)
    return f'"{written[1:-1]}"' if written.startswith("'") and '"' not in text else written


def signature_text(name: str, method: MethodDescription, types: TypeText | None = None) -> str:
    """`add(a: int, b: int = 1) -> int`, as Python would write it."""
    types = types or TypeText()
    returns = types.of(method.returns)
    if method.stream:
        returns = f"Iterator[{returns}]"
    return f"{name}({', '.join(parameter_texts(method.parameters, types))}) -> {returns}"


def parameter_texts(
    parameters: Sequence[Parameter], types: TypeText, default_of: Callable[[Parameter], str] | None = None
) -> list[str]:
    """Each parameter with its type and default; `/` and `*` where Python has them. `default_of` writes those for a source."""
    texts: list[str] = []
    marked = False  # that what follows goes by name
    before = ""
    for one in parameters:
        if before == "positional" and one.kind != "positional":
            texts.append("/")
        if one.kind == "keyword" and not marked:
            texts.append("*")
        marked = marked or one.kind in ("list", "keyword")
        before = one.kind
        text = f"{_STARS.get(one.kind, '')}{one.name}: {types.of(one.schema)}"
        if not one.required and one.kind not in _STARS:
            text += f" = {default_text(one.default, one.schema) if default_of is None else default_of(one)}"
        texts.append(text)
    return [*texts, "/"] if before == "positional" else texts


def default_text(default: object, schema: Schema) -> str:
    """`...` where it cannot be told, or is long."""
    if default == [] and schema.get("uniqueItems") is True:
        return "set()"
    text = quoted(default) if isinstance(default, str) else repr(default)
    return (
        text if default is None or (isinstance(default, (str, int, float, list, dict)) and len(text) <= 40) else "..."
    )


_STARS = {"list": "*", "map": "**"}
