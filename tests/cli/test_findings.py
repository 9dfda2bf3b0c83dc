from __future__ import annotations

from msgspec import structs

from ipc_broker.cli.findings import findings_of, summary
from ipc_broker.observation import (
    CallState,
    ConnectionState,
    Departure,
    Inspection,
    PublisherState,
    SubscriptionState,
)

GPU, WEB = "'gpu' (process 12)", "'web' (process 9)"


def inspected(
    calls: list[CallState] | None = None,
    behind: list[SubscriptionState] | None = None,
    publishers: list[PublisherState] | None = None,
    connections: list[ConnectionState] | None = None,
    departures: list[Departure] | None = None,
) -> Inspection:
    calls = calls or []
    return Inspection(
        time=100.0,
        calls=calls,
        calls_total=len(calls),
        behind=behind or [],
        publishers=publishers or [],
        connections=connections or [],
        departures=departures or [],
    )


def call(state: str, age: float, *, worker: str = GPU, left: float | None = None, name: str = "images") -> CallState:
    return CallState("1.1", name, "resize", WEB, worker if state != "waiting for room" else "", age, state, left)


def texts(inspection: Inspection) -> list[str]:
    return [finding.text for finding in findings_of(inspection)]


def test_nothing_is_stuck() -> None:
    nothing = inspected()
    assert texts(nothing) == []
    assert summary(nothing) == "Nothing is stuck: no call is in flight; every subscriber keeps up."
    unseen = structs.replace(nothing, direct=2)
    expected = "no call is in flight (but for what 2 callers may call without the broker between)"
    assert summary(unseen) == f"Nothing is stuck: {expected}; every subscriber keeps up."
    quick = inspected([call("at its worker", 0.012), call("at its worker", 0.001)])
    assert texts(quick) == []
    assert summary(quick) == ("Nothing is stuck: 2 calls in flight, the oldest for 12 ms; every subscriber keeps up.")


def test_a_call_that_others_wait_for() -> None:
    waiting = [call("waiting for room", age) for age in (30.0, 20.0)]
    [finding] = findings_of(inspected([call("at its worker", 31.0, left=4.0), *waiting]))
    assert finding.text == (
        "'resize' of 'images' has been at its worker 'gpu' (process 12) for 31 s; 'web' (process 9) waits for it for "
        "another 4 s; 2 more wait for room there"
    )
    assert 'mode="shared"' in finding.hint
    assert (finding.topic, finding.age) == ("calls", 31.0)


def test_calls_at_the_same_worker_are_one_finding_and_the_oldest_comes_first() -> None:
    calls = [call("at its worker", 5.0), call("at its worker", 7.0), call("at its worker", 9.0, worker="'b'")]
    assert texts(inspected(calls)) == [
        "'resize' of 'images' has been at its worker 'b' for 9 s; 'web' (process 9) waits for it, however long it takes",
        "'resize' of 'images' has been at its worker 'gpu' (process 12) for 7 s; 'web' (process 9) waits for it, however "
        "long it takes; so it is with 1 more call",
    ]


def test_another_method_at_the_same_worker_is_another_finding() -> None:
    other = CallState("1.2", "images", "crop", WEB, GPU, 5.0, "at its worker")
    first, second = texts(inspected([call("at its worker", 7.0), other]))
    assert first.startswith("'resize' of 'images' has been at its worker")
    assert second.startswith("'crop' of 'images' has been at its worker")


def test_the_other_states_of_a_call() -> None:
    assert texts(
        inspected(
            [
                call("waiting for its caller", 9.0, name="logs"),
                call("given up", 8.0, name="maps"),
                call("waiting for room", 7.0, name="queue"),
            ]
        )
    ) == [
        "the stream 'resize' of 'logs', begun 9 s ago, waits for its caller 'web' (process 9), which takes no more items",
        "'resize' of 'maps' is still at its worker 'gpu' (process 12) after 8 s, though its caller does not wait any more",
        "1 call of 'queue' waits for room, the oldest for 7 s",
    ]


def test_who_is_slow() -> None:
    assert texts(
        inspected(
            behind=[
                SubscriptionState("sensor", "heat", WEB, "lagging", 0, 1234, 12.0),
                SubscriptionState("sensor", "heat", WEB, "full", 8 << 20, 0, 1.5),
                SubscriptionState("sensor", "*", WEB, "behind", 2048),
            ],
            publishers=[PublisherState(GPU, ["sensor heat of 'web' (process 9)"])],
            connections=[ConnectionState(3, "web", 9, outbox=1 << 20)],
        )
    ) == [
        "'web' (process 9), a subscriber of sensor heat, has taken nothing for 12 s: 1,234 events were dropped",
        "'web' (process 9), a subscriber of sensor heat, is too slow: 8 MiB wait for it, and its publishers have been "
        "waiting for 1.5 s",
        "'web' (process 9), a subscriber of sensor *, is behind: 2 KiB wait for it",
        "'gpu' (process 12) may not publish for now: it waits for sensor heat of 'web' (process 9)",
        "1 MiB wait to be written to 'web' (process 9), which does not read them",
    ]


def test_who_has_gone_without_goodbye() -> None:
    departures = [
        Departure(WEB, 12.0, "no sign of life for 15 s", expected=False),
        Departure(GPU, 1.0, "it said goodbye", expected=True),
    ]
    assert texts(inspected(departures=departures)) == ["'web' (process 9) was lost 12 s ago: no sign of life for 15 s"]


def test_names_are_shown_never_obeyed() -> None:
    evil = "\x1b[2J\n"
    inspection = inspected(
        [CallState("1", evil, evil, evil, evil, 9.0, "at its worker")],
        [SubscriptionState(evil, evil, evil, "full", 1)],
        [PublisherState(evil, [evil])],
        [ConnectionState(1, evil, outbox=1)],
        [Departure(evil, 1.0, evil, expected=False)],
    )
    assert len(texts(inspection)) == 5
    assert all(text.isprintable() for text in texts(inspection))
