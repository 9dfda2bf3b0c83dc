"""What is wrong with a payload, in words."""

from __future__ import annotations


class Unsendable(Exception):
    """The encoding cannot say the value; the message says what and where (`$` is the whole value)."""


def reason_of(error: Exception) -> str:
    """What was wrong with a payload, ending with the path where: `$` alone for the whole."""
    if isinstance(error, RecursionError):
        return "nested too deeply - at `$`"
    text = str(error)
    return text if text.endswith("`") and " - at `$" in text else f"{text} - at `$`"
