import msgspec
import pytest
from msgspec import UNSET, Raw

from ipc_broker import messages
from ipc_broker.messages import (
    MAX_NAME,
    Call,
    Credit,
    Error,
    Event,
    HasObject,
    Hello,
    Message,
    Publish,
    Result,
    Subscribe,
    Subscribed,
    Welcome,
)
from tests.protocol.strategies import MESSAGE_TYPES, SEED_TYPES
from tests.seed.decoding import FIELDS

NULL = Raw(b"null")


def test_the_seed_s_messages_and_their_fields_come_first_in_its_order() -> None:
    ours = {kind.__name__: list(kind.__struct_fields__[: len(FIELDS[kind.__name__])]) for kind in SEED_TYPES}
    assert ours == {variant: list(fields) for variant, fields in FIELDS.items()}
    assert MESSAGE_TYPES[: len(SEED_TYPES)] == SEED_TYPES


@pytest.mark.parametrize("kind", SEED_TYPES)
def test_a_field_that_the_seed_does_not_know_is_not_written_unless_it_is_set(kind: type[Message]) -> None:
    seeds = FIELDS[kind.__name__]
    fields = msgspec.structs.fields(kind)
    assert all(field.required is (field.name in seeds) for field in fields)
    plain = {name: True if name == "exists" else "text" for name in seeds}
    for coder in (msgspec.json, msgspec.msgpack):
        message = coder.decode(coder.encode(plain), type=kind)
        assert coder.decode(coder.encode(message)) == plain


def test_what_the_messages_of_the_seed_have_further() -> None:
    further = {kind.__name__: kind.__struct_fields__[len(FIELDS[kind.__name__]) :] for kind in SEED_TYPES}
    assert {name: fields for name, fields in further.items() if fields} == {
        "RegisterObject": ("mode", "concurrency", "interface"),
        "Call": ("timeout_ms", "credit", "headers"),
        "Result": ("ended",),
        "Error": ("code", "type", "data", "delivered", "subscription"),
        "Subscribe": ("id", "credit", "group", "overflow", "seen"),
        "Publish": ("call_id", "retain", "if_absent"),
        "Event": ("subscription", "retained"),
        "Subscribed": ("id", "missed"),
    }


def test_every_message_of_the_module_is_in_the_union() -> None:
    others = {messages.Invalid, messages.Hello, messages.Welcome, messages.DirectOffer}
    structs = {kind for kind in vars(messages).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)}
    assert structs - others - {msgspec.Struct} == set(MESSAGE_TYPES)


def test_an_error_without_our_fields_is_written_as_the_seed_writes_it() -> None:
    error = Error("7", "ghost", "No such object 'ghost'")
    assert list(msgspec.to_builtins(error)) == ["call_id", "object_name", "message"]
    assert msgspec.json.encode(Error(None, "a", "b")) == b'{"call_id":null,"object_name":"a","message":"b"}'


def test_an_error_with_our_fields_writes_those_that_are_set() -> None:
    error = Error("7", "a", "b", code="remote_error", type="ValueError", data=Raw(b"null"), delivered="yes")
    assert msgspec.json.encode(error) == (
        b'{"call_id":"7","object_name":"a","message":"b","code":"remote_error","type":"ValueError","data":null,'
        b'"delivered":"yes"}'
    )


def test_an_error_s_data_null_differs_from_no_data() -> None:
    without = msgspec.json.decode(b'{"call_id":"7","object_name":"a","message":"b"}', type=Error)
    with_null = msgspec.json.decode(b'{"call_id":"7","object_name":"a","message":"b","data":null}', type=Error)
    assert without.data is UNSET
    assert with_null.data == NULL


def test_an_error_needs_its_call_id_though_it_may_be_null() -> None:
    with pytest.raises(msgspec.ValidationError, match="missing required field `call_id`"):
        msgspec.json.decode(b'{"object_name":"a","message":"b"}', type=Error)


@pytest.mark.parametrize("field", ["call_id", "object_name", "method"])
def test_a_name_may_have_1024_characters_and_no_more(field: str) -> None:
    longest = "é" * MAX_NAME
    fields = {"call_id": "1", "object_name": "math", "method": "add", "args": None}
    call = msgspec.json.decode(msgspec.json.encode(fields | {field: longest}), type=Call)
    assert getattr(call, field) == longest
    with pytest.raises(msgspec.ValidationError, match=f"Expected `str` of length <= 1024 - at `\\$.{field}`"):
        msgspec.json.decode(msgspec.json.encode(fields | {field: longest + "é"}), type=Call)


# What no answer repeats, or a frame bounds that the broker itself makes.
FREE_TEXT = {"message", "code", "type", "delivered", "name", "reason"}


@pytest.mark.parametrize("kind", MESSAGE_TYPES)
def test_every_name_is_bounded(kind: type[Message]) -> None:
    """So that an answer that repeats it fits into a frame."""
    for field in msgspec.structs.fields(kind):
        assert field.type not in (str, str | None) or field.name in FREE_TEXT, field.name
    names = {"call_id", "object_name", "method", "topic", "prefix", "group", "service_name", "mode", "overflow"}
    for field in msgspec.structs.fields(kind):
        if field.name in names:
            assert field.type in (messages.Name, messages.Name | None), field.name


@pytest.mark.parametrize("kind", MESSAGE_TYPES)
def test_every_number_that_a_peer_says_is_bounded(kind: type[Message]) -> None:
    if kind is messages.Caller:  # said by the broker, of the operating system
        return
    for field in msgspec.structs.fields(kind):
        assert field.type not in (int, int | None, float), field.name
    for field in msgspec.structs.fields(kind):
        if field.name in {
            "credit",
            "bytes",
            "count",
            "timeout_ms",
            "concurrency",
            "subscription",
            "id",
            "seen",
            "missed",
        }:
            assert field.type in (messages.Count, messages.Count | None), field.name


@pytest.mark.parametrize(
    ("count", "reason"), [(-1, "Expected `int` >= 0"), (2**53, "Expected `int` <= 9007199254740991")]
)
def test_a_count_is_what_every_language_s_numbers_can_say(count: int, reason: str) -> None:
    for coder in (msgspec.json, msgspec.msgpack):
        assert coder.decode(coder.encode({"call_id": "1", "bytes": 2**53 - 1}), type=Credit) == Credit("1", 2**53 - 1)
        with pytest.raises(msgspec.ValidationError, match=f"{reason} - at `\\$.bytes`"):
            coder.decode(coder.encode({"call_id": "1", "bytes": count}), type=Credit)


@pytest.mark.parametrize("headers", [{"a": 1}, {"a": None}, ["a"], "a", None])
def test_headers_are_a_map_of_text(headers: object) -> None:
    fields = {"call_id": "1", "object_name": "math", "method": "add", "args": None}
    call = msgspec.json.decode(msgspec.json.encode(fields | {"headers": {"tenant": "a"}}), type=Call)
    assert call.headers == {"tenant": "a"}
    with pytest.raises(msgspec.ValidationError, match=r"at `\$\.headers"):
        msgspec.json.decode(msgspec.json.encode(fields | {"headers": headers}), type=Call)


def test_a_call_without_headers_differs_from_one_with_none() -> None:
    call = Call("1", "a", "m", NULL)
    assert call.headers is UNSET
    assert b"headers" not in msgspec.json.encode(call)
    assert b'"headers":{}' in msgspec.json.encode(Call("1", "a", "m", NULL, headers={}))


def test_that_nothing_is_known_of_what_was_missed_differs_from_nothing_missed() -> None:
    assert msgspec.json.encode(Subscribed("a", "t", 7, missed=0)) == (
        b'{"object_name":"a","topic":"t","id":7,"missed":0}'
    )
    assert msgspec.json.decode(b'{"object_name":"a","topic":"t","id":7}', type=Subscribed).missed is None
    assert b"seen" in msgspec.json.encode(Subscribe("a", "t", 7, seen=0))
    assert b"seen" not in msgspec.json.encode(Subscribe("a", "t", 7))


def test_fields_that_a_message_does_not_have_are_ignored() -> None:
    assert msgspec.json.decode(b'{"new":[1],"object_name":"a","newer":{}}', type=HasObject) == HasObject("a")


@pytest.mark.parametrize("message", [Call("1", "a", "m", NULL), Publish("a", "t", NULL), Error("1", "a", "m")])
def test_a_message_cannot_be_changed(message: Message) -> None:
    with pytest.raises(AttributeError, match="immutable"):
        setattr(message, "object_name", "b")  # noqa: B010 - an assignment would not pass the type checker


def test_payloads_are_kept_as_the_bytes_that_came() -> None:
    text = b'{"call_id":"1","object_name":"a","method":"m","args":[ 1.50, "\\u00e9",{"k" :1e2}]}'
    assert bytes(msgspec.json.decode(text, type=Call).args) == b'[ 1.50, "\\u00e9",{"k" :1e2}]'


def test_messages_with_equal_fields_are_equal_within_a_type_only() -> None:
    assert Result("1", "a", Raw(b"[1]")) == Result("1", "a", Raw(b"[1]"))
    assert Result("1", "a", Raw(b"[1]")) != Result("1", "a", Raw(b"[2]"))
    publish: object = Publish("a", "t", NULL)
    assert publish != Event("a", "t", NULL)


def test_an_invalid_is_no_message_of_the_wire() -> None:
    assert "Invalid" not in [kind.__name__ for kind in MESSAGE_TYPES]
    invalid = messages.Invalid("why")
    assert (invalid.code, invalid.call_id, invalid.fatal) == ("invalid_args", None, False)


def test_an_empty_hello_is_a_seed_sized_json_peer() -> None:
    assert msgspec.json.decode(b"{}", type=Hello) == Hello(("json",), (), 65_536, "", 0, "")


def test_hello_and_welcome_may_gain_fields() -> None:
    hello = Hello(features=("multiplex",), name="thermostat", pid=4711)
    assert msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(hello) | {"new": 1}), type=Hello) == hello
    welcome = Welcome("json", ("multiplex",), 65_536, "4-", "epoch", "session", "0.1.0", 1)
    assert msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(welcome) | {"new": 1}), type=Welcome) == welcome
