"""Who may do what with a named pipe of ours: its security descriptor, as text (SDDL)."""

from __future__ import annotations

from collections.abc import Iterable

from .sids import ADMINISTRATORS, SYSTEM

_ALL = "FA"
"""Everything, further instances of the pipe included."""

CONNECT = 0x0012019B
"""To open it, read and write, and see whose it is (FILE_GENERIC_READ and FILE_GENERIC_WRITE); but without the bit
FILE_CREATE_PIPE_INSTANCE. With that one, others who are let in could serve instances of their own of a pipe that is shown
as ours, and be told what was meant for us.
"""


def descriptor_of(owner: str, others: Iterable[str] = ()) -> str:
    """For the pipe of the user `owner`, to which `others` may connect too; all are SIDs.

    The owner is named: the pipe of a program that runs as administrator would belong to all of these. Protected (P), so that
    nothing is inherited, and whoever is not named has no rights.
    """
    full = dict.fromkeys((SYSTEM, ADMINISTRATORS, owner))
    entries = [f"(A;;{_ALL};;;{sid})" for sid in full]
    entries += [f"(A;;{CONNECT:#x};;;{sid})" for sid in dict.fromkeys(others) if sid not in full]
    return f"O:{owner}D:P{''.join(entries)}"
