import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipc_broker import address as addresses
from ipc_broker.address import DEFAULT_LOCAL, DEFAULT_TCP, Address, parse_address, resolve_address
from ipc_broker.errors import ConfigError

FORMS = "give unix:///path, tcp://host:port, tls://host:port or pipe://name"
LONGEST_PATH = 107 if sys.platform == "linux" else 103

ANY_TEXT = st.text(st.characters())
HOSTS = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True) | st.ip_addresses().map(str)
PORTS = st.integers(0, 65_535)
ADDRESSES = st.one_of(
    st.builds(Address, st.sampled_from(["tcp", "tls"]), HOSTS, PORTS),
    st.builds(Address, st.just("unix"), st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1)),
    st.builds(Address, st.just("pipe"), st.text(st.characters(codec="utf-8", exclude_characters="\0\\/"), min_size=1)),
).filter(lambda address: address.scheme != "unix" or len(address.location) <= LONGEST_PATH)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:///run/x.sock", Address("unix", "/run/x.sock")),
        ("unix://x.sock", Address("unix", "x.sock")),
        ("tcp://127.0.0.1:5123", Address("tcp", "127.0.0.1", 5123)),
        ("tcp://[::1]:5123", Address("tcp", "::1", 5123)),
        ("tcp://localhost:0", Address("tcp", "localhost", 0)),
        ("tls://broker.example:65535", Address("tls", "broker.example", 65535)),
        ("pipe://ipc_broker", Address("pipe", "ipc_broker")),
        ("memory://a test/1", Address("memory", "a test/1")),
    ],
)
def test_the_schemes(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:5123", Address("tcp", "127.0.0.1", 5123)),
        ("[::1]:5123", Address("tcp", "::1", 5123)),
        ("localhost:1", Address("tcp", "localhost", 1)),
        ("/tmp/x.sock", Address("unix", "/tmp/x.sock")),
        ("./x.sock", Address("unix", "./x.sock")),
        ("/tmp/with:colon", Address("unix", "/tmp/with:colon")),
    ],
)
def test_a_bare_host_and_port_is_tcp_and_a_bare_path_a_unix_socket(text: str, address: Address) -> None:
    assert parse_address(text) == address


@given(ADDRESSES)
def test_what_an_address_prints_is_the_address(address: Address) -> None:
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no scheme, no port and no path"),
        ("broker", "no scheme, no port and no path"),
        ("unix://", "nothing behind the scheme"),
        ("pipe://", "nothing behind the scheme"),
        ("tcp://", "nothing behind the scheme"),
        ("unix:///a\0b", "a zero byte"),
        ("/a\0b", "a zero byte"),
        ("http://localhost:80", "unknown scheme 'http'"),
        ("://x", "unknown scheme ''"),
        ("UNIX:///x", "unknown scheme 'UNIX'"),
        ("tcp://localhost", "host or port is missing"),
        ("tcp://:5123", "host or port is missing"),
        (":5123", "host or port is missing"),
        ("tcp://[]:5123", "host or port is missing"),
        ("tcp://localhost:", "the port '' is no number from 0 to 65535"),
        ("tcp://localhost:http", "the port 'http' is no number"),
        ("tcp://localhost:65536", "the port '65536' is no number"),
        ("tcp://localhost:-1", "the port '-1' is no number"),
        ("tcp://localhost:٣", "the port '٣' is no number"),
        ("tcp://localhost:" + "1" * 5000, "is no number from 0 to 65535"),
        ("tcp://::1:5123", r"an IPv6 host stands in brackets: tcp://\[::1\]:5123"),
        ("unix:/tmp/x", "two slashes stand behind the scheme"),
        ("unix:x.sock", "two slashes stand behind the scheme"),
        ("tcp:/localhost:5123", "two slashes stand behind the scheme"),
        ("tcp:5123", "two slashes stand behind the scheme"),
        ("tls:/localhost:5123", "two slashes stand behind the scheme"),
        ("pipe:/x", "two slashes stand behind the scheme"),
        ("memory:x", "two slashes stand behind the scheme"),
        ("memory://", "nothing behind the scheme"),
        (r"pipe://\\.\pipe\x", r"the name of a pipe holds no \\ or /"),
        ("pipe://a/b", r"the name of a pipe holds no \\ or /"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason_and_the_forms(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        parse_address(text)
    assert repr(text) in caught.value.message
    assert FORMS in caught.value.message


def test_a_unix_path_is_as_long_as_the_kernel_takes_and_no_longer() -> None:
    assert parse_address("unix:///" + "a" * (LONGEST_PATH - 1)).location == "/" + "a" * (LONGEST_PATH - 1)
    with pytest.raises(ConfigError, match=f"longer than the {LONGEST_PATH} bytes"):
        parse_address("unix:///" + "a" * LONGEST_PATH)


def test_a_unix_path_is_measured_in_bytes() -> None:
    with pytest.raises(ConfigError, match=f"longer than the {LONGEST_PATH} bytes"):
        parse_address("unix:///" + "é" * 60)


@given(ANY_TEXT | st.builds("{}://{}".format, st.sampled_from(["unix", "tcp", "tls", "pipe", "memory"]), ANY_TEXT))
@example("unix:///\ud800")
def test_any_text_is_an_address_or_a_config_error(text: str) -> None:
    try:
        address: Address | None = parse_address(text)
    except ConfigError:
        address = None
    assert address is None or (address.location and address.port in range(65_536))


def test_the_argument_outweighs_the_environment_and_that_the_default() -> None:
    environ = {"BROKER_ADDR": "localhost:1234"}
    assert resolve_address("pipe://x", environ) == Address("pipe", "x")
    assert resolve_address(None, environ) == Address("tcp", "localhost", 1234)
    assert resolve_address(None, {}) == parse_address(DEFAULT_LOCAL)


def test_an_empty_broker_addr_is_none() -> None:
    assert resolve_address(None, {"BROKER_ADDR": ""}) == parse_address(DEFAULT_LOCAL)


def test_the_defaults_are_the_seed_s() -> None:
    local = "pipe://ipc_broker" if sys.platform == "win32" else "unix:///tmp/ipc_broker.sock"
    assert (local, "tcp://127.0.0.1:5123") == (DEFAULT_LOCAL, DEFAULT_TCP)
    assert addresses.DEFAULT_PORT == 5123


def test_addresses_are_keys() -> None:
    assert {parse_address("localhost:1"): 1}[parse_address("tcp://localhost:1")] == 1
