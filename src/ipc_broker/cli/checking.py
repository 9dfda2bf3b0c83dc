"""`ipc-broker check`: all that a broker would read when it starts, and exactly what is wrong where."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from ..activation.definition import ServiceDefinition
from ..activation.folders import definitions_in, files_in, seed_folder
from ..address import parse_address
from ..config import BrokerConfig
from ..errors import ConfigError
from ..identity.files import read_trusted
from ..identity.sock_diag import is_loopback
from ..identity.users import as_known, is_group, is_user
from ..security.policy import Policy
from ..security.policy_file import parse_policy
from ..security.tokens import Tokens, is_valid, parse_tokens
from .fail import WRONG, tell
from .settings import settings_of


@click.command(
    short_help="Check configuration, policy, tokens and services.",
    help="Check configuration, policy, tokens and services, and say what is wrong where. Exit status: 0 all is well, 1 not.",
)
@click.pass_obj
def check(given: dict[str, Any]) -> None:
    report = _Report()
    try:
        settings = settings_of(given)
    except ConfigError as error:
        report.wrong(error)
    else:
        report.configuration(settings)
        tokens = report.tokens(settings.tokens)
        report.policy(settings.policy, tokens)
        report.services(settings.services)
    sys.exit(WRONG if report.is_wrong else 0)


class _Report:
    """Tells what is there on stdout, what is wrong on stderr."""

    def __init__(self) -> None:
        self.is_wrong = False

    def wrong(self, error: ConfigError | str) -> None:
        self.is_wrong = True
        tell(error)

    def configuration(self, settings: BrokerConfig) -> None:
        click.echo(f"listens on {', '.join(settings.listen)}")
        for text in settings.listen:
            address = parse_address(text)
            if address.scheme == "tcp" and not settings.insecure and not _may_be_loopback(address.location):
                self.wrong(f"listen: {text}: other machines could connect there; use tls:// and tokens, or insecure")
            if address.scheme == "tls":
                self._certificate(settings)
        for user in settings.allow_users:
            if not is_user(user):
                self.wrong(f"allow_users: there is no user '{user}' on this system")
        for group in settings.allow_groups:
            if not is_group(group):
                self.wrong(f"allow_groups: there is no group '{group}' on this system")

    def _certificate(self, settings: BrokerConfig) -> None:
        from ..tls import ServerContext  # only where it is needed: `ssl` is long to import

        try:
            ServerContext(settings.tls)
        except ConfigError as error:
            self.wrong(error)

    def tokens(self, file: str) -> Tokens:
        if not file or not os.path.exists(file):
            click.echo("tokens: none")
            return Tokens()
        try:
            tokens = parse_tokens(read_trusted(file), file)
        except ConfigError as error:
            self.wrong(error)
            return Tokens()
        expired = sum(not is_valid(record, time.time()) for record in tokens.records)
        click.echo(f"tokens: {len(tokens.records)} in {file}" + (f", {expired} of them expired" if expired else ""))
        return tokens

    def policy(self, file: str, tokens: Tokens) -> None:
        if not file:
            click.echo("policy: none; whoever is let in may use the bus, only its owner and root look at it")
            return
        try:
            policy = parse_policy(read_trusted(file), file, as_known)
        except ConfigError as error:
            self.wrong(error)
            return
        default = "allowed" if policy.default else "denied"
        click.echo(f"policy: {len(policy.rules)} rules in {file}; what none is about is {default}")
        for note in _unknown_people(policy, tokens):
            click.echo(f"  note: {note}")

    def services(self, folders: tuple[str, ...]) -> None:
        found: dict[str, str] = {}
        for folder in (*folders, *filter(os.path.exists, (seed_folder(),))):
            try:
                for file in files_in(folder):
                    self._definitions(file, found)
            except ConfigError as error:
                self.wrong(error)
        click.echo(f"services: {', '.join(sorted(found))}" if found else "services: none")

    def _definitions(self, file: str, found: dict[str, str]) -> None:
        try:
            definitions = definitions_in(file)
        except ConfigError as error:
            self.wrong(error)
            return
        for one in definitions:
            if (earlier := found.get(one.object)) is not None:
                self.wrong(f"{file}: the object '{one.object}' has a service already, in {earlier}")
            found.setdefault(one.object, file)
            if missing := _missing_program(one):
                self.wrong(f"{file}: exec: {missing}")


def _may_be_loopback(host: str) -> bool:
    """A name is asked for only when the broker starts."""
    is_address = host.replace(".", "").isdigit() or ":" in host
    return is_loopback(host) or not is_address


def _unknown_people(policy: Policy, tokens: Tokens) -> Iterator[str]:
    """Who may be a mistake, or may come later."""
    names = {record.name for record in tokens.records}
    roles = {record.role for record in tokens.records}
    for rule in policy.rules:
        for user in sorted(rule.who.users):
            if not is_user(user):
                yield f"rule '{rule.name}': there is no user '{user}' on this system"
        for group in sorted(rule.who.groups):
            if not is_group(group):
                yield f"rule '{rule.name}': there is no group '{group}' on this system"
        for name in sorted(rule.who.tokens - names):
            yield f"rule '{rule.name}': there is no token '{name}'"
        for role in sorted(rule.who.roles - roles):
            yield f"rule '{rule.name}': no token has the role '{role}'"


def _missing_program(definition: ServiceDefinition) -> str:
    if not definition.exec or shutil.which(definition.exec[0]) is not None:
        return ""
    return f"there is no program '{definition.exec[0]}' that can be run"
