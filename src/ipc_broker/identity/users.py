"""The system's users and groups, by their numbers."""

from __future__ import annotations

import os
import sys
from functools import lru_cache

if sys.platform == "win32":

    def user_name(uid: int) -> str:
        return str(uid)

    def uid_of(user: str) -> int | None:
        return None

    def is_group(group: str) -> bool:
        return True

    def own_user() -> str:
        return os.environ.get("USERNAME", "")

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
