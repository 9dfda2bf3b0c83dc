"""Who is at the other end of a connection, as far as it is proven: what a policy goes by."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct


class Principal(Struct, frozen=True):
    """Whoever the kernel says, or whoever a token was made for. What nobody has proven is empty."""

    uid: int | None = None
    user: str = ""
    groups: frozenset[str] = frozenset()
    """Names; of a group without one, its number."""
    token: str = ""
    """The name that its token was made for, or that its certificate has."""
    role: str = ""
    is_owner: bool = False
    """The user that the broker runs as, or root."""
    sid: str = ""
    """In place of `uid` on Windows, where `groups` are SIDs too."""

    @property
    def account(self) -> str:
        """Whose quota it is: a user's, however many tokens it has; where there is no user, that of the token."""
        if self.sid:
            return f"sid:{self.sid}"
        return f"uid:{self.uid}" if self.uid is not None else f"token:{self.token}"

    def is_let_in(self, users: Collection[str], groups: Collection[str]) -> bool:
        """As owner, by name or number, or as a member. Who has a token is let in by that."""
        return (
            self.is_owner
            or (bool(self.user) and self.user in users)
            or (self.uid is not None and str(self.uid) in users)
            or (bool(self.sid) and self.sid in users)
            or not self.groups.isdisjoint(groups)
        )

    def describe(self) -> str:
        """For messages to people: "user 'alice'", "user 'alice' with the token 'ci'", "token 'ci'"."""
        parts: list[str] = []
        if self.user or self.uid is not None:
            parts.append(f"user '{self.user or self.uid}'")
        if self.token:
            parts.append(f"token '{self.token}'")
        return " with the ".join(parts) or "an unknown user"


OWNER = Principal(is_owner=True)
"""Somebody who may do everything: programs that hold the broker in their own process, and tests."""


def not_let_in(principal: Principal, owners: str) -> str:
    """What somebody is told who is not let in; `owners` are those who are."""
    settings = "its settings allow_users and allow_groups let others in"
    return f"{principal.describe()} may not use this broker, which is for {owners}: {settings}"
