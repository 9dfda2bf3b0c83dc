"""The system's users and groups, by their numbers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from functools import lru_cache

if sys.platform == "win32":
    # Windows' users have no numbers; how it knows them instead say accounts.py and sids.py.

    def user_name(uid: int) -> str:
        return str(uid)

    def uid_of(user: str) -> int | None:
        return None

    def as_known(name: str) -> str | None:
        """A user's or group's SID; None where there is nobody of this name. Raises ConfigError where nobody can tell."""
        from .accounts import sid_of  # only where it is asked: `ctypes` is long to import

        return sid_of(name)

    def is_user(user: str) -> bool:
        return as_known(user) is not None

    def is_group(group: str) -> bool:
        return is_user(group)

    def own_user() -> str:
        from .accounts import account_name, own_sid

        return account_name(own_sid())

    def group_names(uid: int) -> frozenset[str]:
        return frozenset()

    def group_name(gid: int) -> str:
        return str(gid)

    def is_own_or_root(uid: int | None) -> bool:
        return False

    def forget_users() -> None: ...

else:
    import grp
    import pwd

    @lru_cache(maxsize=1024)
    def user_name(uid: int) -> str:
        """Its number where it has no name."""
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return str(uid)

    @lru_cache(maxsize=1024)
    def group_names(uid: int) -> frozenset[str]:
        """All that the user is in; of a group without a name its number."""
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            return frozenset()
        return frozenset(map(group_name, os.getgrouplist(entry.pw_name, entry.pw_gid)))

    def uid_of(user: str) -> int | None:
        """By name or number; None where there is no such user."""
        try:
            return pwd.getpwnam(user).pw_uid
        except KeyError:
            return int(user) if user.isascii() and user.isdigit() else None

    def as_known(name: str) -> str | None:
        """How the system calls a user or group when it says who somebody is: by the name that is in its lists."""
        return name

    def is_user(user: str) -> bool:
        """Whether there is one of this name; of a number nobody can tell."""
        return uid_of(user) is not None

    def is_group(group: str) -> bool:
        """Whether there is one of this name; of a number nobody can tell."""
        try:
            grp.getgrnam(group)
        except KeyError:
            return group.isascii() and group.isdigit()
        return True

    def own_user() -> str:
        return user_name(os.geteuid())

    def is_own_or_root(uid: int | None) -> bool:
        return uid is not None and uid in (0, os.geteuid())

    def forget_users() -> None:
        """What was looked up until now is looked up again: somebody may have joined a group."""
        user_name.cache_clear()
        group_names.cache_clear()
        group_name.cache_clear()

    @lru_cache(maxsize=1024)
    def group_name(gid: int) -> str:
        """Its number where it has no name."""
        try:
            return grp.getgrgid(gid).gr_name
        except KeyError:
            return str(gid)


def as_all_known(names: Iterable[str]) -> frozenset[str]:
    """Users or groups, with those whom the system does not know as they are written. Raises ConfigError."""
    return frozenset(as_known(name) or name for name in names)
