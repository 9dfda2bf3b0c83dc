"""Seconds, bytes and counts as people read them: three digits are enough."""

from __future__ import annotations

_LONG = (
    ("min", 60, "s", 1, 3600 - 0.5),
    ("h", 3600, "min", 60, 86_400 - 30),
    ("d", 86_400, "h", 3600, float("inf")),
)
"""A unit, the one below it, with their seconds, and up to where it is used."""


def duration(seconds: float) -> str:
    """`0.6 ms`, `31 s`, `2 h 5 min`."""
    if seconds < 0.001:
        return f"{_three(seconds * 1e6)} µs"
    if seconds < 0.9995:
        return f"{_three(seconds * 1e3)} ms"
    if seconds < 59.5:
        return f"{_three(seconds)} s"
    for unit, seconds_each, smaller, seconds_each_smaller, below in _LONG:
        if seconds < below:
            whole, rest = divmod(round(seconds / seconds_each_smaller), seconds_each // seconds_each_smaller)
            return f"{whole} {unit} {rest} {smaller}" if rest else f"{whole} {unit}"
    raise AssertionError("every duration has a unit")


def age(seconds: float) -> str:
    """As `duration`, in whole seconds."""
    return f"{seconds:.0f} s" if seconds < 59.5 else duration(seconds)


def size(count: int) -> str:
    """`17 bytes`, `1.2 MiB`."""
    if count < 1024:
        return "1 byte" if count == 1 else f"{count} bytes"
    value, unit = count / 1024, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if value < 999.5:
            break
        value, unit = value / 1024, larger
    return f"{_three(value)} {unit}"


def counted(count: int, one: str, many: str = "") -> str:
    """`1 call`, `1,234 calls`."""
    return f"1 {one}" if count == 1 else f"{count:,} {many or one + 's'}"


def rate(per_second: float) -> str:
    """Without its unit: `0`, `<0.1`, `0.4`, `12`, `12,345`."""
    if 0 < per_second < 0.05:
        return "<0.1"
    return f"{per_second:.1f}" if 0 < per_second < 9.95 else f"{per_second:,.0f}"


def _three(value: float) -> str:
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
