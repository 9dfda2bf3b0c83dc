"""A policy file: read whole, or refused with the place of what is wrong."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_broker.errors import ConfigError
from ipc_broker.security import policy_file
from ipc_broker.security.policy import Policy, Rule, Who
from ipc_broker.security.policy_file import WrittenPolicy, WrittenRule, parse_policy

SOURCE = "/etc/ipc-broker/policy.toml"


def rule(*lines: str, name: str = "x") -> str:
    return "\n".join([f'[[rule]]\nname = "{name}"', *lines, ""])


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_policy(text, SOURCE)
    return caught.value.message


def test_an_empty_file_denies_to_others_what_no_rule_allows() -> None:
    assert parse_policy("", SOURCE) == Policy((), False, "policy.toml")
    assert parse_policy('default = "allow"', SOURCE).default


def test_a_rule_with_all_that_it_may_have() -> None:
    text = rule(
        'effect = "deny"',
        'users = ["alice", 1001]',
        'groups = "operators"',
        'tokens = ["ci"]',
        'roles = ["builder"]',
        'call = ["disk.format", "a.>"]',
        'register = "disk"',
        'publish = "*.*"',
        'subscribe = ">"',
        "monitor = true",
        "administer = true",
    )
    who = Who(frozenset({"alice", "1001"}), frozenset({"operators"}), frozenset({"ci"}), frozenset({"builder"}))
    targets = {
        "call": (("disk", "format"), ("a", ">")),
        "register": (("disk",),),
        "publish": (("*", "*"),),
        "subscribe": ((">",),),
        "monitor": (),
        "administer": (),
    }
    [parsed] = parse_policy(text, SOURCE).rules
    assert isinstance(parsed, Rule)
    assert (parsed.name, parsed.allows, parsed.who) == ("x", False, who)
    assert parsed.targets == targets


def test_the_form_that_the_module_shows_is_one() -> None:
    _, _, shown = (policy_file.__doc__ or "").partition("\n\n")
    [parsed] = parse_policy(shown, SOURCE).rules
    assert parsed.name == "operators format disks"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("default = ", "is no TOML: "),
        ("a = 1\nb = = 2", "(at line 2, column "),
        ('defualt = "deny"', ": there is no 'defualt': did you mean 'default'?"),
        ('[[rules]]\nname = "x"', ": there is no 'rules': did you mean 'rule'?"),
        ("[quotas]\ncalls = 1", ": there is no 'quotas': a policy has default, rule"),
        ('default = "maybe"', ": Invalid enum value 'maybe' - at `$.default`"),
        ('[rule]\nname = "x"', ": each rule begins with [[rule]], in two brackets"),
        ('rule = ["x"]', ": Expected `object`, got `str` - at `$.rule[0]`"),
        ("[[rule]]\nmonitor = true", ", rule 1: it needs a name, which those are told whom it concerns"),
        (rule("monitor = true", name=""), ", rule 1: it needs a name"),
        ("[[rule]]\nname = 5\nmonitor = true", ", rule 1: Expected `str`, got `int` - at `$.name`"),
        (rule(), ", rule 1 ('x'): it is about nothing: give call, register, publish, subscribe, monitor or administer"),
        (rule("monitor = false"), ", rule 1 ('x'): it is about nothing"),
        (rule("call = []"), ", rule 1 ('x'): it is about nothing"),
        (rule('calls = "a.b"'), ", rule 1 ('x'): there is no 'calls': did you mean 'call'?"),
        (
            rule("when = 1"),
            ", rule 1 ('x'): there is no 'when': a rule has name, effect, users, groups, tokens, roles,",
        ),
        (rule('effect = "allwo"', "monitor = true"), ", rule 1 ('x'): Invalid enum value 'allwo' - at `$.effect`"),
        (rule('monitor = "yes"'), ", rule 1 ('x'): Expected `bool`, got `str` - at `$.monitor`"),
        (rule("call = 1"), ", rule 1 ('x'): Expected `str | array`, got `int` - at `$.call`"),
        (rule("call = [1]"), ", rule 1 ('x'): Expected `str`, got `int` - at `$.call[0]`"),
        (
            rule("users = [1.5]", "monitor = true"),
            ", rule 1 ('x'): Expected `int | str`, got `float` - at `$.users[0]`",
        ),
        (rule('groups = ""', "monitor = true"), ", rule 1 ('x'): groups: an empty text names nobody"),
        (rule('users = ["a", ""]', "monitor = true"), ", rule 1 ('x'): users: an empty text names nobody"),
        (rule("tokens = []", "monitor = true"), ", rule 1 ('x'): tokens: an empty list names nobody; leave it out"),
        (rule('call = "disk"'), ", rule 1 ('x'): call: 'disk' has no method: write 'disk.*' for all of them"),
        (rule('publish = "disk"'), ", rule 1 ('x'): publish: 'disk' has no topic: write 'disk.*'"),
        (rule('subscribe = "*"'), ", rule 1 ('x'): subscribe: '*' has no topic: write '*.*', or '>' for everything"),
        (rule('call = ["a.b", "a..b"]'), ", rule 1 ('x'): call: 'a..b' has an empty segment"),
        (rule('register = ""'), ", rule 1 ('x'): register: an empty text stands for nothing"),
        (rule('call = "a.>.b"'), ", rule 1 ('x'): call: 'a.>.b' has something behind '>'"),
        (rule('call = "disk.get*"'), ", rule 1 ('x'): call: 'disk.get*': '*' and '>' stand for whole segments"),
        (rule('call = "rob.monitor"'), ", rule 1 ('x'): call: 'rob.monitor': what may be asked of 'rob' is said by"),
        (rule("monitor = true") + rule('register = "a."', name="y"), ", rule 2 ('y'): register: 'a.' has an empty"),
        (rule("monitor = true") * 2, ", rule 2 ('x'): an earlier rule has the same name"),
    ],
)
def test_a_mistake_is_refused_with_its_place(text: str, expected: str) -> None:
    message = refusal(text)
    assert message.startswith(SOURCE)
    assert expected in message
    assert "\n" not in message


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
tables = st.dictionaries(st.sampled_from([*WrittenRule.__struct_fields__, "x"]), values, max_size=5)


@given(st.dictionaries(st.sampled_from(WrittenPolicy.__struct_fields__), st.lists(tables) | values))
def test_whatever_is_in_a_file_it_is_a_policy_or_the_file_is_named(content: dict[str, object]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tomllib, "loads", lambda text: content)
        try:
            said = parse_policy("", SOURCE).source
        except ConfigError as error:
            said = error.message
    assert said == "policy.toml" or said.startswith(SOURCE)
