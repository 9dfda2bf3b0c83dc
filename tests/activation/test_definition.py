"""What a service's file may say, and what is told of one that makes no sense."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ipc_broker.activation.definition import (
    InvalidService,
    ServiceDefinition,
    define_unit,
    is_unit,
    parse_seed_services,
    parse_service,
)
from ipc_broker.errors import ConfigError

WHOLE = """
object = "disk"
exec = ["/usr/lib/disk/worker", "--quiet", ""]
environment = { DISK_CACHE = "/var/cache/disk" }
restart = "on-failure"
idle_stop = 300
start_timeout = 2.5
"""


def test_a_file_with_everything() -> None:
    assert parse_service(WHOLE, "disk.toml") == ServiceDefinition(
        object="disk",
        exec=("/usr/lib/disk/worker", "--quiet", ""),
        environment={"DISK_CACHE": "/var/cache/disk"},
        restart="on-failure",
        idle_stop=300.0,
        start_timeout=2.5,
    )


def test_what_need_not_be_said() -> None:
    definition = parse_service('object = "disk"\nsystemd_unit = "disk.service"', "disk.toml")
    assert (definition.restart, definition.idle_stop, definition.start_timeout) == ("never", 0, 10)
    assert definition.environment == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("object =", "is no TOML"),
        ('exec = ["x"]', "missing required field `object`"),
        ('object = ""\nexec = ["x"]', "$.object"),
        ('object = "rob"\nexec = ["x"]', "object: 'rob' is the broker's own"),
        ('object = "disk"', "give either exec or systemd_unit"),
        ('object = "disk"\nexec = ["x"]\nsystemd_unit = "x.service"', "give either exec or systemd_unit"),
        ('object = "disk"\nexec = []', "give either exec or systemd_unit"),
        ('object = "disk"\nexec = [""]', "exec: the program has no name"),
        ('object = "disk"\nexec = "worker --quiet"', "Expected `array`, got `str` - at `$.exec`"),
        ('object = "disk"\nexec = ["bin/worker"]', "exec: 'bin/worker' is relative; give the whole path"),
        ('object = "disk"\nexec = ["x", "a\\u0000b"]', "exec: an argument has a zero byte"),
        ('object = "disk"\nexec = ["x"]\nenvironment = { "" = "1" }', "environment: '' is no name of a variable"),
        ('object = "disk"\nexec = ["x"]\nenvironment = { "A=B" = "1" }', "environment: 'A=B' is no name of a variable"),
        ('object = "disk"\nexec = ["x"]\nenvironment = { A = "\\u0000" }', "environment: the value of A has a zero"),
        ('object = "disk"\nexec = ["x"]\nenvironment = { A = 1 }', "$.environment"),
        ('object = "disk"\nexec = ["x"]\nrestart = "sometimes"', "$.restart"),
        ('object = "disk"\nexec = ["x"]\nidle_stop = -1', "$.idle_stop"),
        ('object = "disk"\nexec = ["x"]\nstart_timeout = 0', "$.start_timeout"),
        ('object = "disk"\nexec = ["x"]\nidel_stop = 1', "idel_stop"),
        ('object = "disk"\nsystemd_unit = "disk.socket"', "systemd_unit: 'disk.socket' is no name of a service unit"),
        ('object = "disk"\nsystemd_unit = "x.service"\nrestart = "always"', "restart: a unit says that itself"),
        (
            'object = "disk"\nsystemd_unit = "x.service"\nenvironment = {A = "1"}',
            "environment: a unit says that itself",
        ),
    ],
)
def test_mistakes_are_named_with_their_file(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_service(text, "services/disk.toml")
    assert str(caught.value).startswith("services/disk.toml")
    assert why in str(caught.value)


@pytest.mark.parametrize("name", ["disk.service", "disk@sda1.service", r"dev-disk\x2dby.service", "a:b_c-d.service"])
def test_names_of_units(name: str) -> None:
    assert is_unit(name)


@pytest.mark.parametrize(
    "name",
    [
        "disk",
        "disk.socket",
        "-disk.service",
        "--user.service",
        ".service",
        "/etc/x.service",
        "a b.service",
        "a;b.service",
        "a\n.service",
        "é.service",
        "*.service",
        "x" * 248 + ".service",
    ],
)
def test_what_is_no_name_of_a_unit(name: str) -> None:
    assert not is_unit(name)


# The Rust crate's


def seed_file(**changes: Any) -> str:
    return json.dumps([{"type": "RegisterService", "object_name": "math", "service_name": "math"} | changes])


def test_a_file_of_the_rust_crate() -> None:
    expected = ServiceDefinition(object="math", systemd_unit="math.service")
    assert parse_seed_services(seed_file(), "math.json") == [expected]
    assert parse_seed_services(seed_file(service_name="math.service", more=1), "math.json") == [expected]
    assert parse_seed_services("[]", "math.json") == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "math.json: "),
        ("{}", "math.json: Expected `array`, got `object`"),
        ('[{"type": "RegisterService"}]', "math.json: Object missing required field `object_name`"),
        (seed_file(type="Call"), "math.json, entry 1: there is no type 'Call'; it must be 'RegisterService'"),
        (seed_file(service_name="a b"), "math.json, entry 1: systemd_unit: 'a b.service' is no name of a service unit"),
        (seed_file(object_name="rob"), "math.json, entry 1: object: 'rob' is the broker's own"),
    ],
)
def test_mistakes_in_a_file_of_the_rust_crate(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_seed_services(text, "math.json")
    assert str(caught.value).startswith(why)


def test_what_a_peer_says() -> None:
    assert define_unit("math", "math") == ServiceDefinition(object="math", systemd_unit="math.service")
    with pytest.raises(InvalidService, match="no name of a service unit"):
        define_unit("math", "$(reboot)")
    with pytest.raises(InvalidService):
        define_unit("x" * 10_000, "math")
