"""What a connection queues, when it wakes its shell, and what the shell then takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from ipc_broker.messages import Registered
from ipc_broker.protocol.batching import Run
from ipc_broker.protocol.codec import Codec
from ipc_broker.protocol.connection import Connection, Role
from ipc_broker.protocol.encodings import JSON, MSGPACK
from tests.protocol.strategies import SEED_MESSAGES

encode = JSON.encode
FRAMES = SEED_MESSAGES.map(encode)


class Woken:
    """Counts how often the shell was told to write."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def test_the_shell_is_woken_by_the_first_frame_only_and_again_once_all_was_taken() -> None:
    woken = Woken()
    connection = Connection(Role.BROKER, woken)
    assert (connection.data_to_send(), woken.times) == (b"", 0)
    for _ in range(3):
        connection.send(Registered("a"))
    assert woken.times == 1
    assert connection.data_to_send() == encode(Registered("a")) * 3
    assert connection.data_to_send() == b""
    connection.send(Registered("b"))
    assert woken.times == 2


def test_a_shell_that_wants_to_write_early_is_woken_again_after_so_many_bytes() -> None:
    woken, frame = Woken(), encode(Registered("a"))
    connection = Connection(Role.CLIENT, woken, wake_every=3 * len(frame))
    times = []
    for _ in range(7):
        connection.send_frame(frame)
        times.append(woken.times)
    assert times == [1, 1, 1, 2, 2, 2, 3]
    assert connection.data_to_send() == frame * 7
    connection.send_frame(frame)
    assert woken.times == 4
    connection.send_frame(frame)
    assert woken.times == 4


@given(
    st.lists(
        st.one_of(FRAMES, st.lists(FRAMES, max_size=3), st.none(), st.integers(1, 300)),
        max_size=20,
    )
)
def test_what_was_sent_comes_out_once_in_order_and_is_counted(steps: list[bytes | list[bytes] | int | None]) -> None:
    woken = Woken()
    connection = Connection(Role.BROKER, woken)
    waiting: list[bytes] = []
    first = True  # since something was taken
    for step in steps:
        if isinstance(step, bytes | list):
            before = woken.times
            frames = step if isinstance(step, list) else [step]
            if isinstance(step, list):
                connection.send_frames(step, sum(map(len, step)))
            else:
                connection.send_frame(step)
            assert woken.times - before == (first and bool(frames))
            first = first and not frames
            waiting += frames
        else:
            data = connection.data_to_send(step)
            first = True
            taken = 0
            while taken < len(waiting) and (step is None or sum(map(len, waiting[:taken])) < step):
                taken += 1
            assert data == b"".join(waiting[:taken])
            waiting = waiting[taken:]
        assert connection.queued == sum(map(len, waiting))


def test_a_limit_ends_behind_a_whole_frame() -> None:
    connection = Connection(Role.BROKER, lambda: None)
    frames = [encode(Registered(name)) for name in ("a", "bb", "ccc")]
    for frame in frames:
        connection.send_frame(frame)
    assert connection.data_to_send(1) == frames[0]
    assert connection.data_to_send(len(frames[1])) == frames[1]
    assert connection.data_to_send(len(frames[2]) + 1) == frames[2]


def test_frames_of_a_batch_wake_the_shell_as_one() -> None:
    woken, frame = Woken(), encode(Registered("a"))
    connection = Connection(Role.BROKER, woken, wake_every=4 * len(frame))
    connection.send_frames([], 0)
    assert woken.times == 0
    connection.send_frames([frame] * 3, 3 * len(frame))
    assert (woken.times, connection.queued) == (1, 3 * len(frame))
    connection.send_frames([frame] * 3, 3 * len(frame))
    assert woken.times == 1
    connection.send_frames([frame], len(frame))
    assert woken.times == 2
    assert connection.data_to_send() == frame * 7
    assert connection.queued == 0


def test_a_batch_is_taken_frame_by_frame_where_a_limit_is_given() -> None:
    connection = Connection(Role.BROKER, lambda: None)
    frames = [encode(Registered(name)) for name in ("a", "bb", "ccc")]
    batch = list(frames)
    connection.send_frames(batch, sum(map(len, batch)))
    assert connection.data_to_send(1) == frames[0]
    assert connection.data_to_send() == frames[1] + frames[2]
    assert batch == frames, "the list is still its owner's"


def test_ctrl_c_while_an_event_joins_the_one_before_it_loses_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(run: Run, value: Raw, size: int) -> int:
        raise KeyboardInterrupt

    connection = Connection(Role.CLIENT, Woken())
    connection.extend("msgpack", 65_536, 65_536)
    connection.publish("sensor", "a", MSGPACK.null, 1)
    with monkeypatch.context() as patched:
        patched.setattr(Run, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            connection.publish("sensor", "a", MSGPACK.null, 1)
    assert connection.queued == len(MSGPACK.publish_frame("sensor", "a", MSGPACK.null))
    connection.publish("sensor", "b", MSGPACK.null, 1)
    expected = [MSGPACK.publish_frame("sensor", topic, MSGPACK.null) for topic in ("a", "b")]
    assert connection.data_to_send() == b"".join(expected)
    assert connection.queued == 0


def test_ctrl_c_while_events_are_made_into_a_message_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(run: Run, codec: Codec) -> bytes:
        monkeypatch.setattr(Run, "frame", frame)
        raise KeyboardInterrupt

    frame = Run.frame
    expected, connection = (Connection(Role.CLIENT, Woken()) for _ in range(2))
    for one in (expected, connection):
        one.extend("msgpack", 65_536, 65_536)
        for topic in ("a", "a", "b"):
            one.publish("sensor", topic, MSGPACK.null, 1)
    monkeypatch.setattr(Run, "frame", interrupted)
    with pytest.raises(KeyboardInterrupt):
        connection.data_to_send()
    assert connection.data_to_send() == expected.data_to_send()
    assert connection.queued == 0
