import ast
import inspect
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from ipc_broker import config
from ipc_broker.address import DEFAULT_LOCAL, DEFAULT_TCP
from ipc_broker.config import SECTIONS, BrokerConfig, Limits, Quotas, Tls
from ipc_broker.config_sources import load_config
from ipc_broker.errors import ConfigError

WriteFile = Callable[[str], str]

EVERY_LIMIT = [field.name for field in msgspec.structs.fields(Limits)]


@pytest.fixture
def write_file(tmp_path: Path) -> WriteFile:
    """Writes a settings file and gives its name."""

    def write(text: str) -> str:
        path = tmp_path / "broker.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def refusal(file: str | None, environ: dict[str, str], options: dict[str, object]) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(file, environ, options)
    return caught.value.message


def test_without_any_setting_the_defaults_hold() -> None:
    config = load_config(None, {}, {})
    assert config == BrokerConfig()
    assert config.listen == (DEFAULT_LOCAL, DEFAULT_TCP)
    assert (config.log_level, config.grace) == ("info", 5.0)
    assert config.limits == Limits()


def test_the_defaults_of_the_limits_are_those_promised() -> None:
    limits = Limits()
    assert limits.max_frame == 64 * 1024 * 1024
    assert limits.backlog == 8 * 1024 * 1024
    assert limits.stall == 2.0
    assert limits.resume == 30.0
    assert limits.calls >= 10_000
    assert limits.connections > 10_000
    assert limits.waiting > 0
    assert limits.retained >= limits.max_frame, "one value of any size can be retained"
    assert limits.outbox > limits.max_frame, "one answer of any size can wait"


@pytest.mark.parametrize("kind", [BrokerConfig, *SECTIONS.values()])
def test_every_setting_is_described_where_it_is_declared(kind: type[msgspec.Struct]) -> None:
    settings = msgspec.json.schema(kind)["$defs"][kind.__name__]["properties"]
    assert [name for name, schema in settings.items() if "description" not in schema and name not in SECTIONS] == []


def test_every_limit_has_its_reason_below_it() -> None:
    [declared] = [
        node
        for node in ast.parse(inspect.getsource(config)).body
        if isinstance(node, ast.ClassDef) and node.name == "Limits"
    ]
    for field, reason in zip(declared.body[1::2], declared.body[2::2], strict=True):
        assert isinstance(field, ast.AnnAssign)
        assert isinstance(reason, ast.Expr)
    assert len(declared.body) == 1 + 2 * len(EVERY_LIMIT)


def test_a_file_gives_every_setting(write_file: WriteFile) -> None:
    file = write_file(
        """
        listen = ["unix:///run/x.sock", "tcp://127.0.0.1:0"]
        log_level = "debug"
        grace = 1

        [limits]
        max_frame = 140000
        stall = 0.5
        calls = 3
        """
    )
    assert load_config(file, {}, {}) == BrokerConfig(
        listen=("unix:///run/x.sock", "tcp://127.0.0.1:0"),
        log_level="debug",
        grace=1.0,
        limits=Limits(max_frame=140_000, stall=0.5, calls=3),
    )


def test_the_environment_gives_every_setting() -> None:
    limits = dict.fromkeys(EVERY_LIMIT, 7) | {"max_frame": 140_000}
    environ = {
        "IPC_BROKER_LISTEN": "unix:///run/x.sock, tcp://127.0.0.1:0",
        "IPC_BROKER_LOG_LEVEL": "warn",
        "IPC_BROKER_GRACE": "1.5",
        **{f"IPC_BROKER_LIMITS_{name.upper()}": str(value) for name, value in limits.items()},
    }
    assert load_config(None, environ, {}) == BrokerConfig(
        listen=("unix:///run/x.sock", "tcp://127.0.0.1:0"),
        log_level="warn",
        grace=1.5,
        limits=msgspec.convert(limits, Limits),
    )


@pytest.mark.parametrize("size", [65_536, 2**31 - 1])
def test_the_smallest_and_the_largest_frame_limit_may_be_set_anywhere(write_file: WriteFile, size: int) -> None:
    assert load_config(write_file(f"[limits]\nmax_frame = {size}"), {}, {}).limits.max_frame == size
    assert load_config(None, {"IPC_BROKER_LIMITS_MAX_FRAME": str(size)}, {}).limits.max_frame == size
    assert load_config(None, {}, {"limits": {"max_frame": size}}).limits.max_frame == size


def test_options_outweigh_the_environment_and_that_the_file(write_file: WriteFile) -> None:
    file = write_file('grace = 1\nlog_level = "error"\nlisten = ["unix:///file"]')
    environ = {"IPC_BROKER_GRACE": "2", "IPC_BROKER_LOG_LEVEL": "warn"}
    config = load_config(file, environ, {"grace": 3.0})
    assert (config.grace, config.log_level, config.listen) == (3.0, "warn", ("unix:///file",))


def test_each_limit_is_weighed_on_its_own(write_file: WriteFile) -> None:
    file = write_file("[limits]\nnames = 1\ncalls = 1\nsubscriptions = 1")
    environ = {"IPC_BROKER_LIMITS_CALLS": "2", "IPC_BROKER_LIMITS_SUBSCRIPTIONS": "2"}
    limits = load_config(file, environ, {"limits": {"subscriptions": 3}}).limits
    assert (limits.names, limits.calls, limits.subscriptions) == (1, 2, 3)
    assert limits.backlog == Limits().backlog


def test_a_limit_of_the_environment_outweighs_the_file_s(write_file: WriteFile) -> None:
    file = write_file("[limits]\ncalls = 1")
    assert load_config(file, {"IPC_BROKER_LIMITS_CALLS": "2"}, {}).limits.calls == 2


def test_sections_and_lists_come_from_everywhere(write_file: WriteFile) -> None:
    file = write_file(
        """
        allow_users = ["alice", "1001"]
        policy = "policy.toml"
        [quotas]
        calls = 3
        rate = 5
        [tls]
        certificate = "a.pem"
        """
    )
    environ = {"IPC_BROKER_QUOTAS_CALLS": "4", "IPC_BROKER_ALLOW_GROUPS": "ops, dev", "IPC_BROKER_INSECURE": "true"}
    config = load_config(file, environ, {"tls": {"key": "b.pem"}, "quotas": {"names": 6}, "policy": ""})
    assert config.quotas == Quotas(calls=4, rate=5, names=6)
    assert config.tls == Tls(certificate="a.pem", key="b.pem")
    assert (config.allow_users, config.allow_groups) == (("alice", "1001"), ("ops", "dev"))
    assert (config.insecure, config.policy) == (True, "")


def test_other_defaults_weigh_less_than_anything_that_is_said(write_file: WriteFile) -> None:
    defaults = {"policy": "default.toml", "tokens": "default.toml", "services": ["default"]}
    file = write_file('policy = "said.toml"\n')
    config = load_config(file, {"IPC_BROKER_SERVICES": "said"}, {}, defaults)
    assert (config.policy, config.tokens, config.services) == ("said.toml", "default.toml", ("said",))


def test_an_option_that_was_not_given_is_none_and_changes_nothing() -> None:
    options: dict[str, object] = {"grace": None, "listen": None, "log_level": None, "limits": None}
    assert load_config(None, {"IPC_BROKER_GRACE": "2"}, options) == BrokerConfig(grace=2.0)


def test_an_option_listen_replaces_both_default_addresses() -> None:
    assert load_config(None, {}, {"listen": ("unix:///x",)}).listen == ("unix:///x",)


def test_broker_debug_is_the_log_level_as_for_the_seed_s_broker() -> None:
    for level in ("trace", "debug", "info", "warn", "error"):
        assert load_config(None, {"BROKER_DEBUG": level}, {}).log_level == level


def test_our_own_variable_outweighs_broker_debug_and_that_the_file(write_file: WriteFile) -> None:
    file = write_file('log_level = "error"')
    assert load_config(file, {"BROKER_DEBUG": "debug"}, {}).log_level == "debug"
    both = {"BROKER_DEBUG": "debug", "IPC_BROKER_LOG_LEVEL": "warn"}
    assert load_config(file, both, {}).log_level == "warn"


def test_an_empty_variable_is_none() -> None:
    assert load_config(None, {"IPC_BROKER_GRACE": "", "BROKER_DEBUG": "", "IPC_BROKER_LISTEN": ""}, {}) == (
        BrokerConfig()
    )


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("IPC_BROKER_GRACE", "soon"),
        ("IPC_BROKER_GRACE", "-1"),
        ("IPC_BROKER_GRACE", "nan"),
        ("IPC_BROKER_GRACE", "86401"),
        ("IPC_BROKER_LOG_LEVEL", "loud"),
        ("BROKER_DEBUG", "loud"),
        ("IPC_BROKER_LISTEN", "nowhere"),
        ("IPC_BROKER_LISTEN", "unix:///x,"),
        ("IPC_BROKER_LIMITS_CALLS", "0"),
        ("IPC_BROKER_LIMITS_CALLS", "1.5"),
        ("IPC_BROKER_LIMITS_CALLS", "many"),
        ("IPC_BROKER_LIMITS_MAX_FRAME", "2147483648"),
        ("IPC_BROKER_LIMITS_MAX_FRAME", "65535"),
        ("IPC_BROKER_LIMITS_MAX_FRAME", "0"),
    ],
)
def test_a_wrong_value_in_the_environment_is_refused_with_the_variable_and_its_text(variable: str, text: str) -> None:
    message = refusal(None, {variable: text}, {})
    assert variable in message
    assert text in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("grace = ", "is no TOML"),
        ("gracious = 1", "unknown field `gracious`"),
        ("[limits]\ncall = 1", "unknown field `call` - at `$.limits`"),
        ('grace = "5"', "Expected `float`, got `str` - at `$.grace`"),
        ("grace = -0.5", "Expected `float` >= 0.0 - at `$.grace`"),
        ("grace = nan", "at `$.grace`"),
        ("grace = inf", "at `$.grace`"),
        ('log_level = "loud"', "'loud' - at `$.log_level`"),
        ("limits = 3", "Expected `object`, got `int` - at `$.limits`"),
        ("[limits]\ncalls = 0", "Expected `int` >= 1 - at `$.limits.calls`"),
        ("[limits]\ncalls = true", "Expected `int`, got `bool` - at `$.limits.calls`"),
        ("[limits]\ncalls = 1.0", "at `$.limits.calls`"),
        ("[limits]\nmax_frame = 2147483648", "Expected `int` <= 2147483647 - at `$.limits.max_frame`"),
        ("[limits]\nmax_frame = 65535", "Expected `int` >= 65536 - at `$.limits.max_frame`"),
        ("[limits]\nresume = -1", "Expected `float` >= 0.0 - at `$.limits.resume`"),
        ("[limits]\nretained = 0", "Expected `int` >= 1 - at `$.limits.retained`"),
        ('listen = "unix:///x"', "Expected `array`, got `str` - at `$.listen`"),
        ("listen = []", "a broker needs at least one address"),
        ("listen = [1]", "Expected `str`, got `int` - at `$.listen[0]`"),
        ('listen = ["unix:///x", "nowhere"]', "not an address: 'nowhere'"),
    ],
)
def test_what_is_wrong_in_a_file_is_refused_with_the_file_and_the_place(
    write_file: WriteFile, text: str, expected: str
) -> None:
    file = write_file(text)
    message = refusal(file, {}, {})
    assert message.startswith(file)
    assert expected in message


def test_a_wrong_file_is_refused_even_where_an_option_outweighs_it(write_file: WriteFile) -> None:
    file = write_file("grace = -1")
    assert file in refusal(file, {}, {"grace": 1.0})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.toml")
    assert refusal(missing, {}, {}) == f"cannot read {missing}: No such file or directory"
    assert str(tmp_path) in refusal(str(tmp_path), {}, {})


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    file = tmp_path / "broker.toml"
    file.write_bytes(b'log_level = "\xff"')
    assert refusal(str(file), {}, {}).startswith(f"{file} is no TOML")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"listen": ["nowhere"]}, "not an address: 'nowhere'"),
        ({"log_level": "loud"}, "at `$.log_level`"),
        ({"grace": -1.0}, "at `$.grace`"),
        ({"limits": {"calls": 0}}, "at `$.limits.calls`"),
        ({"limits": {"max_frame": 2**31}}, "Expected `int` <= 2147483647 - at `$.limits.max_frame`"),
        ({"limits": {"max_frame": 65_535}}, "Expected `int` >= 65536 - at `$.limits.max_frame`"),
    ],
)
def test_a_wrong_option_is_refused_with_its_place(options: dict[str, object], expected: str) -> None:
    assert expected in refusal(None, {}, options)


@pytest.mark.parametrize("listen", ["unix:///x", ["unix:///x"], ("unix:///x",)])
def test_in_a_program_listen_is_one_address_or_several(listen: object) -> None:
    config = BrokerConfig(listen=listen)  # type: ignore[arg-type]  # a list is what people write
    assert config.listen == ("unix:///x",)
    assert hash(config) == hash(BrokerConfig(listen=("unix:///x",)))


def test_in_a_program_a_wrong_address_is_a_config_error_too() -> None:
    with pytest.raises(ConfigError, match="not an address: 'nowhere'"):
        BrokerConfig(listen=("unix:///x", "nowhere"))
    with pytest.raises(ConfigError, match="at least one address"):
        BrokerConfig(listen=())


@pytest.mark.parametrize("settings", [BrokerConfig(), Limits()])
def test_settings_cannot_be_changed(settings: BrokerConfig | Limits) -> None:
    with pytest.raises(AttributeError, match="immutable"):
        setattr(settings, "limits" if isinstance(settings, BrokerConfig) else "calls", 1)
