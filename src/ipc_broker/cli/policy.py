"""`ipc-broker policy check`: what the policy says, without doing it."""

from __future__ import annotations

import os
import sys
from typing import Any

import click
from msgspec import structs

from ..config import BrokerConfig
from ..errors import ConfigError
from ..identity.files import read_trusted
from ..identity.sids import is_root
from ..identity.users import as_all_known, as_known, group_names, is_own_or_root, own_user, uid_of, user_name
from ..security.policy import ACTIONS, WITH_TARGETS, Action, Policy
from ..security.policy_file import parse_policy
from ..security.principal import Principal, not_let_in
from ..security.targets import segments_of
from ..security.tokens import parse_tokens
from .fail import WRONG, WRONG_USAGE, fail
from .settings import settings_of

KINDS = ("uid", "user", "group", "token", "role")


@click.group(help="Ask what the policy says.")
def policy() -> None: ...


@policy.command(
    short_help="Tell whether somebody may do something.",
    help="""Tell whether somebody may do something, and which rule says so. Exit status: 0 allowed, 1 denied.

    \b
    ipc-broker policy check --as uid=1000 call disk.format
    ipc-broker policy check --as group=operators subscribe 'sensor.>'
    ipc-broker policy check --as token=ci --as role=builder register builds
    ipc-broker policy check --as user=alice monitor

    ACTION is call, register, publish, subscribe, monitor or administer. What --as says several times is said of one and the
    same. A user comes with its groups, a token with its role.
    """,
)
@click.option("--as", "who", metavar="KIND=NAME", multiple=True, required=True, help=f"{', '.join(KINDS)}; repeatable")
@click.argument("action", type=click.Choice(ACTIONS), metavar="ACTION")
@click.argument("target", required=False)
@click.pass_obj
def check(given: dict[str, Any], who: tuple[str, ...], action: Action, target: str | None) -> None:
    _require_fitting(action, target)
    try:
        settings = settings_of(given)
        rules = parse_policy(read_trusted(settings.policy), settings.policy, as_known) if settings.policy else Policy()
        principal = _principal(who, settings)
        allowed = as_all_known(settings.allow_users), as_all_known(settings.allow_groups)
    except ConfigError as error:
        fail(error, WRONG_USAGE)
    if not (principal.token or principal.role) and not principal.is_let_in(*allowed):
        owners = " and ".join(f"user '{name}'" for name in dict.fromkeys((own_user(), "root")))
        click.echo(not_let_in(principal, owners))
        sys.exit(WRONG)
    explained = rules.explain(principal, action, target or "")
    click.echo(explained.reason)
    sys.exit(0 if explained.allowed else WRONG)


def _require_fitting(action: Action, target: str | None) -> None:
    """Raises click.UsageError."""
    if action not in WITH_TARGETS:
        if target is not None:
            raise click.UsageError(f"{action} is about no object")
        return
    if target is None:
        raise click.UsageError(f"{action} what? Give {'an object' if action == 'register' else 'object and member'}")
    try:
        segments = segments_of(target)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if segments[0] == "rob":
        raise click.UsageError("what may be asked of 'rob' is said by monitor and administer")
    if action != "register" and len(segments) == 1 and target != ">":
        member = "method" if action == "call" else "topic"
        raise click.UsageError(f"'{target}' has no {member}: give both with a dot between, as in {target}.{member}")


def _principal(who: tuple[str, ...], settings: BrokerConfig) -> Principal:
    """Raises click.UsageError, ConfigError."""
    principal = Principal()
    for one in who:
        kind, separator, name = one.partition("=")
        if kind not in KINDS or not separator or not name:
            raise click.UsageError(f"--as {one}: give one of {', '.join(f'{kind}=...' for kind in KINDS)}")
        match kind:
            case "uid" | "user":
                principal = _with_user(principal, kind, name)
            case "group":
                principal = structs.replace(principal, groups=principal.groups | as_all_known([name]))
            case "token":
                principal = structs.replace(principal, token=name, role=principal.role or _role_of(name, settings))
            case "role":
                principal = structs.replace(principal, role=name)
    return principal


def _with_user(principal: Principal, kind: str, name: str) -> Principal:
    """Raises click.UsageError, ConfigError."""
    unknown = click.UsageError(f"--as {kind}={name}: there is no such user on this system")
    if sys.platform == "win32":  # which tells the groups of those only who are there
        from ..identity.accounts import account_name, own_sid

        sid = as_known(name) if kind == "user" else None
        if sid is None:
            raise unknown
        return structs.replace(principal, sid=sid, user=account_name(sid), is_owner=sid == own_sid() or is_root(sid))
    uid = uid_of(name) if kind == "user" else int(name) if name.isascii() and name.isdigit() else None
    if uid is None:
        raise unknown
    groups = principal.groups | group_names(uid)
    return structs.replace(principal, uid=uid, user=user_name(uid), groups=groups, is_owner=is_own_or_root(uid))


def _role_of(name: str, settings: BrokerConfig) -> str:
    """Raises ConfigError."""
    if not settings.tokens or not os.path.exists(settings.tokens):
        return ""
    records = parse_tokens(read_trusted(settings.tokens), settings.tokens).records
    return next((record.role for record in records if record.name == name and record.role), "")
