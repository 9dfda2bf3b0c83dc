"""What a broker says of an object, and what it says that cannot."""

from __future__ import annotations

from typing import Any

from ..description import ObjectDescription
from ..errors import NoSuchMethod
from . import BROKER_OBJECT

ANSWER: Any = ObjectDescription | None
"""The type of `rob.describe`: the broker of the Rust crate answers null to a method that it does not know."""


def require_described(answer: ObjectDescription | None, address: str) -> ObjectDescription:
    """Raises NoSuchMethod."""
    if answer is None:
        message = f"the broker at {address} cannot describe objects: it speaks the Rust crate's protocol only"
        raise NoSuchMethod(message, object=BROKER_OBJECT, method="describe")
    return answer
