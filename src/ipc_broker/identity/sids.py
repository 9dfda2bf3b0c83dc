"""Windows' users and groups, by their SIDs: as text, such as S-1-5-21-1004336348-1177238915-682003330-1001.

A name can be spelled in several ways and means somebody else on another machine; a SID does neither.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

SYSTEM = "S-1-5-18"
ADMINISTRATORS = "S-1-5-32-544"
"""In a token they count only where the program runs as administrator; Windows masks them in those of all other programs."""

_SID = re.compile(r"S-1-(\d+|0x[0-9A-F]{12})(-\d+){1,15}", re.ASCII | re.IGNORECASE)


def is_sid(text: str) -> bool:
    """Whether it has the form of one; nobody need have it."""
    return _SID.fullmatch(text) is not None


def is_root(sid: str) -> bool:
    """The system itself, and the administrators: those who may do everything anyway, as root elsewhere."""
    return sid in (SYSTEM, ADMINISTRATORS)


def is_trusted_owner(owner: str, own: str, trusted: Collection[str], sid_of: Callable[[str], str | None]) -> bool:
    """Whether a broker of `owner` may be told anything by a program of `own`, who trusts `trusted`, names or SIDs, besides."""
    return owner == own or is_root(owner) or owner in trusted or owner in map(sid_of, trusted)
