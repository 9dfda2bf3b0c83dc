"""Objects that are started when they are called."""

from __future__ import annotations

import pytest

from ipc_broker.activation.definition import ServiceDefinition
from ipc_broker.config import Limits
from ipc_broker.messages import Error
from ipc_broker.routing.service import LONGEST_BACKOFF, SETTLE, STABLE
from tests.memory import Bus, RawPeer
from tests.messages import call, error, error_of, register, result
from tests.routing.launching import EXIT_1, FakeLauncher, launcher_of, service_of, state_of
from tests.routing.peers import call_with, cancel, error_from, ids_of, json_peer, packed_peer, register_as, serve

DISK = ServiceDefinition(object="disk", exec=("/usr/lib/disk/worker",))
KEPT = ServiceDefinition(object="disk", exec=("/usr/lib/disk/worker",), restart="on-failure")
ALWAYS = ServiceDefinition(object="disk", exec=("/usr/lib/disk/worker",), restart="always")
IDLE = ServiceDefinition(object="disk", exec=("/usr/lib/disk/worker",), idle_stop=60)
UNIT = ServiceDefinition(object="disk", systemd_unit="disk.service", idle_stop=60)


@pytest.fixture
def launcher(bus: Bus) -> FakeLauncher:
    return launcher_of(bus, DISK)


@pytest.fixture
def caller(bus: Bus) -> RawPeer:
    return packed_peer(bus)


def ask(caller: RawPeer, number: int = 1) -> str:
    """Calls it; the call is on its way or waits."""
    call_id = f"{caller.prefix}{number}"
    caller.send(call(call_id, "disk", "free"))
    caller.bus.settle()
    return call_id


def failure(caller: RawPeer) -> Error:
    """The only thing that the caller has got."""
    [answer] = map(error_from, caller.receive())
    assert answer.code == "activation_failed"
    assert answer.delivered == "no"
    return answer


def served(bus: Bus, caller: RawPeer, launcher: FakeLauncher) -> RawPeer:
    """The service runs, and has answered a call."""
    call_id = ask(caller)
    launcher.began("disk")
    worker = packed_peer(bus)
    serve_and_answer(worker, caller, call_id)
    return worker


def serve_and_answer(worker: RawPeer, caller: RawPeer, *call_ids: str) -> None:
    worker.send(register("disk"))
    registered, *calls = worker.receive()
    assert "Registered" in registered
    assert ids_of(calls) == list(call_ids)
    worker.send(*(result(call_id, "disk", 7) for call_id in call_ids))
    assert caller.receive() == [result(call_id, "disk", 7) for call_id in call_ids]


# A call starts it


def test_a_call_waits_until_its_object_is_served(bus: Bus, launcher: FakeLauncher, caller: RawPeer) -> None:
    call_id = ask(caller)
    assert launcher.starts == ["disk"]
    assert caller.receive() == []
    assert state_of(bus, "disk").state == "starting"
    launcher.began("disk", 99)
    bus.advance(5)
    serve_and_answer(packed_peer(bus), caller, call_id)
    told = state_of(bus, "disk")
    assert (told.state, told.pid, told.reason) == ("running", 99, "")
    bus.assert_no_call_is_left()


def test_calls_of_all_callers_start_one_process_and_come_in_order(bus: Bus, launcher: FakeLauncher) -> None:
    first, second, seed = packed_peer(bus), json_peer(bus), RawPeer(bus)
    ids = [ask(first, 1), ask(second, 1), ask(first, 2)]
    seed.send(call("seed", "disk", "free"))
    bus.settle()
    assert launcher.starts == ["disk"]
    worker = packed_peer(bus)
    worker.send(register("disk"))
    given = ids_of(worker.receive())
    assert given[:3] == ids
    worker.send(*(result(call_id, "disk") for call_id in given))
    assert seed.receive() == [result("seed", "disk")]


def test_a_worker_with_a_concurrency_takes_them_one_by_one(bus: Bus, launcher: FakeLauncher, caller: RawPeer) -> None:
    ids = [ask(caller, number) for number in range(3)]
    worker = packed_peer(bus)
    serve(worker, "other")
    worker.send(register_as("disk", concurrency=1))
    for call_id in ids:
        assert ids_of(worker.receive()) == [call_id]
        worker.send(result(call_id, "disk"))
    bus.settle()
    bus.assert_no_call_is_left()


def test_what_is_left_of_the_timeout_travels_on(bus: Bus, launcher: FakeLauncher, caller: RawPeer) -> None:
    caller.send(call_with(f"{caller.prefix}1", "disk", "free", timeout_ms=5000))
    bus.advance(2)
    worker = packed_peer(bus)
    worker.send(register("disk"))
    given = worker.receive()[-1]
    assert given["Call"]["timeout_ms"] == 3000


def test_a_deadline_ends_the_wait_and_the_service_goes_on_to_start(
    bus: Bus, launcher: FakeLauncher, caller: RawPeer
) -> None:
    caller.send(call_with(f"{caller.prefix}1", "disk", "free", timeout_ms=1000))
    bus.advance(1.1)
    [answer] = map(error_from, caller.receive())
    assert (answer.code, answer.delivered) == ("deadline_exceeded", "no")
    assert answer.message == "'disk' did not answer 'free' within 1 s: its service has not started yet"
    serve_and_answer(packed_peer(bus), caller)
    assert state_of(bus, "disk").state == "running"


@pytest.mark.parametrize("how", ["gone", "cancelled"])
def test_callers_that_do_not_wait_any_more(bus: Bus, launcher: FakeLauncher, caller: RawPeer, how: str) -> None:
    call_id = ask(caller)
    if how == "gone":
        caller.disconnect()
    else:
        caller.send(cancel(call_id))
    bus.settle()
    worker = packed_peer(bus)
    worker.send(register("disk"))
    assert ids_of(worker.receive()) == []
    bus.assert_no_call_is_left()


def test_the_line_has_the_limits_of_every_line(bus: Bus) -> None:
    bus = Bus(Limits(waiting=2))
    launcher_of(bus, DISK)
    caller = packed_peer(bus)
    ids = [ask(caller, number) for number in range(3)]
    [answer] = map(error_from, caller.receive())
    assert (answer.call_id, answer.code) == (ids[2], "overloaded")


def test_a_name_that_is_served_without_being_called_is_not_started(
    bus: Bus, launcher: FakeLauncher, caller: RawPeer
) -> None:
    RawPeer(bus, "disk")
    ask(caller)
    assert launcher.starts == []
    assert state_of(bus, "disk").state == "running"


def test_a_service_that_does_not_run_is_in_no_list(bus: Bus, launcher: FakeLauncher) -> None:
    peer = RawPeer(bus)
    peer.send({"HasObject": {"object_name": "disk"}}, call("1", "rob", "listObjects"))
    assert peer.receive() == [
        {"HasObjectResult": {"object_name": "disk", "exists": False}},
        result("1", "rob", ["rob"]),
    ]
    asking = json_peer(bus)
    asking.send(call(f"{asking.prefix}1", "rob", "describe", {"object": "disk"}))
    [answer] = map(error_from, asking.receive())
    assert answer.message == "No such object 'disk'; its service does not run, and a call starts it"


def test_other_names_are_missing_as_ever(bus: Bus, launcher: FakeLauncher, caller: RawPeer) -> None:
    caller.send(call(f"{caller.prefix}1", "dusk", "free"))
    [answer] = map(error_from, caller.receive())
    assert (answer.code, launcher.starts) == ("no_such_object", [])


def test_a_call_with_something_wrong_starts_nothing(bus: Bus, launcher: FakeLauncher, caller: RawPeer) -> None:
    caller.send(call("wrong", "disk", "free"))
    [answer] = map(error_from, caller.receive())
    assert (answer.code, launcher.starts) == ("invalid_args", [])


def test_without_a_launcher_nothing_can_be_started(bus: Bus, caller: RawPeer) -> None:
    bus.router.services.replace([DISK], bus.now)
    ask(caller)
    assert failure(caller).message == "'disk' cannot be started: this broker starts no processes"
    ask(caller)
    assert failure(caller).message == "'disk' cannot be started: this broker starts no processes"
    bus.assert_no_call_is_left()


# It does not start


@pytest.mark.parametrize("failed", [True, False])
def test_a_process_that_ends_before_it_serves_fails_all_calls_at_once(
    bus: Bus, launcher: FakeLauncher, caller: RawPeer, failed: bool
) -> None:
    ask(caller, 1)
    ask(caller, 2)
    seed = RawPeer(bus)
    seed.send(call("1", "disk", "free"))
    bus.settle()
    launcher.ends("disk", failed=failed)
    expected = f"'disk' cannot be started: {EXIT_1}, before it served 'disk'"
    answers = [error_from(message) for message in caller.receive()]
    assert [(one.code, one.message) for one in answers] == [("activation_failed", expected)] * 2
    assert seed.receive() == [error("1", "disk", expected)]
    told = state_of(bus, "disk")
    assert (told.state, told.failures, told.reason) == ("failed", 1, f"{EXIT_1}, before it served 'disk'")
    bus.assert_no_call_is_left()


def test_failures_in_a_row_are_tried_again_later_and_later(bus: Bus, launcher: FakeLauncher, caller: RawPeer) -> None:
    waits: list[float] = []
    for number in range(1, 10):
        ask(caller)
        assert len(launcher.starts) == number
        launcher.ends("disk")
        failure(caller)
        waits.append(service_of(bus, "disk").again_at - bus.now)
        if waits[-1]:
            ask(caller)
            assert failure(caller).message.endswith(f"; it is tried again in {waits[-1]:.1f} s")
            assert len(launcher.starts) == number
        bus.advance(waits[-1])
    assert waits == [0, 1, 2, 4, 8, 16, 32, LONGEST_BACKOFF, LONGEST_BACKOFF]


def test_a_process_that_hangs_is_stopped_and_its_calls_fail_with_what_it_said(
    bus: Bus, launcher: FakeLauncher, caller: RawPeer
) -> None:
    ask(caller)
    launcher.words = "its last words: waits for the disk"
    bus.advance(9.9)
    assert caller.receive() == []
    bus.advance(0.2)
    expected = "it did not serve 'disk' within 10 s; its last words: waits for the disk"
    assert failure(caller).message == f"'disk' cannot be started: {expected}"
    assert launcher.stopping == {"disk"}
    assert state_of(bus, "disk").state == "stopping"
    launcher.ends("disk", "it was ended by SIGKILL")
    told = state_of(bus, "disk")
    assert (told.state, told.failures, told.reason) == ("failed", 1, expected)


def test_a_call_while_a_process_that_hung_is_stopped_waits_for_the_next_one(
    bus: Bus, launcher: FakeLauncher, caller: RawPeer
) -> None:
    ask(caller)
    bus.advance(10.1)
    failure(caller)
    call_id = ask(caller)
    assert launcher.starts == ["disk"]
    launcher.ends("disk", "it was ended by SIGKILL")
    assert launcher.starts == ["disk", "disk"]
    assert caller.receive() == []
    serve_and_answer(packed_peer(bus), caller, call_id)


def test_a_process_that_registers_too_late_is_stopped_all_the_same(
    bus: Bus, launcher: FakeLauncher, caller: RawPeer
) -> None:
    ask(caller)
    bus.advance(10.1)
    failure(caller)
    late = packed_peer(bus, "disk")
    call_id = ask(caller)
    assert ids_of(late.receive()) == [], "it may die with it"
    late.disconnect()
    launcher.ends("disk", "it was ended by SIGTERM")
    assert len(launcher.starts) == 2
    serve_and_answer(packed_peer(bus), caller, call_id)


# It ends


def test_calls_of_a_process_that_crashes_are_lost_and_the_next_one_starts_it(
    bus: Bus, launcher: FakeLauncher, caller: RawPeer
) -> None:
    worker = served(bus, caller, launcher)
    lost = ask(caller, 2)
    worker.disconnect()
    [answer] = map(error_from, caller.receive())
    assert (answer.call_id, answer.code, answer.delivered) == (lost, "worker_lost", "maybe")
    launcher.ends("disk", "it was ended by SIGSEGV")
    told = state_of(bus, "disk")
    assert (told.state, told.reason) == ("failed", "it was ended by SIGSEGV")
    call_id = ask(caller)
    serve_and_answer(packed_peer(bus), caller, call_id)
    assert len(launcher.starts) == 2


@pytest.mark.parametrize("first", ["connection", "process"])
def test_calls_between_the_ends_of_connection_and_process_wait_for_the_next_one(
    bus: Bus, launcher: FakeLauncher, caller: RawPeer, first: str
) -> None:
    worker = served(bus, caller, launcher)
    if first == "connection":
        worker.disconnect()
        call_id = ask(caller, 2)
        assert state_of(bus, "disk").state == "starting"
        launcher.ends("disk")
    else:
        launcher.ends("disk")
        assert state_of(bus, "disk").state == "running"
        worker.disconnect()
        assert state_of(bus, "disk").state == "failed"
        call_id = ask(caller, 2)
    assert len(launcher.starts) == 2
    serve_and_answer(packed_peer(bus), caller, call_id)


def test_a_crash_loop_backs_off_and_is_forgotten_after_a_stable_time(
    bus: Bus, launcher: FakeLauncher, caller: RawPeer
) -> None:
    for _ in range(3):
        worker = served(bus, caller, launcher)
        bus.advance(0.5)
        worker.disconnect()
        launcher.ends("disk")
        bus.advance(service_of(bus, "disk").again_at - bus.now)
    assert state_of(bus, "disk").failures == 3
    worker = served(bus, caller, launcher)
    assert state_of(bus, "disk").failures == 3
    bus.advance(STABLE)
    assert state_of(bus, "disk").failures == 0
    worker.disconnect()
    launcher.ends("disk")
    assert state_of(bus, "disk").failures == 1


def test_calls_that_wait_when_it_crashes_too_often_are_refused(
    bus: Bus, launcher: FakeLauncher, caller: RawPeer
) -> None:
    worker = served(bus, caller, launcher)
    worker.disconnect()
    launcher.ends("disk")
    worker = served(bus, caller, launcher)
    worker.disconnect()
    ask(caller, 2)
    launcher.ends("disk")
    assert failure(caller).message == f"'disk' cannot be started: {EXIT_1}"
    bus.assert_no_call_is_left()


def test_a_process_that_ends_well_is_stopped_and_its_callers_do_not_notice(
    bus: Bus, launcher: FakeLauncher, caller: RawPeer
) -> None:
    worker = served(bus, caller, launcher)
    worker.send(call(f"{worker.prefix}1", "rob", "unregister", {"object_name": "disk"}))
    worker.receive()
    call_id = ask(caller, 2)
    launcher.ends("disk", "it ended with exit status 0", failed=False)
    assert len(launcher.starts) == 2
    again = packed_peer(bus)
    serve_and_answer(again, caller, call_id)
    again.disconnect()
    launcher.ends("disk", "it ended with exit status 0", failed=False)
    told = state_of(bus, "disk")
    assert (told.state, told.failures) == ("stopped", 0)


def test_a_worker_that_answers_after_it_has_given_its_name_up_takes_nobody_along(
    bus: Bus, launcher: FakeLauncher, caller: RawPeer
) -> None:
    worker = served(bus, caller, launcher)
    last = ask(caller, 2)
    worker.send(call(f"{worker.prefix}1", "rob", "unregister", {"object_name": "disk", "keep_calls": True}))
    worker.receive()
    waits = ask(caller, 3)
    worker.send(result(last, "disk"))
    assert caller.receive() == [result(last, "disk")]
    launcher.ends("disk", "it ended with exit status 0", failed=False)
    serve_and_answer(packed_peer(bus), caller, waits)


def test_a_connection_that_is_lost_and_found_again_is_no_end(bus: Bus, launcher: FakeLauncher, caller: RawPeer) -> None:
    served(bus, caller, launcher).disconnect()
    assert state_of(bus, "disk").state == "starting"
    call_id = ask(caller, 2)
    bus.advance(3)
    serve_and_answer(packed_peer(bus), caller, call_id)
    assert launcher.starts == ["disk"]
    assert (state_of(bus, "disk").state, state_of(bus, "disk").pid) == ("running", 4242)


def test_a_process_that_lives_but_does_not_come_back_is_stopped(
    bus: Bus, launcher: FakeLauncher, caller: RawPeer
) -> None:
    served(bus, caller, launcher).disconnect()
    ask(caller, 2)
    bus.advance(10.1)
    assert "its process runs, but does not serve 'disk' within 10 s" in failure(caller).message
    assert launcher.stopping == {"disk"}


# Restarts


def test_never_waits_for_a_call(bus: Bus, launcher: FakeLauncher, caller: RawPeer) -> None:
    served(bus, caller, launcher).disconnect()
    launcher.ends("disk")
    bus.advance(600)
    assert launcher.starts == ["disk"]
    assert state_of(bus, "disk").state == "failed"


@pytest.mark.parametrize("definition", [KEPT, ALWAYS])
def test_after_a_failure_it_is_started_again_without_a_call(
    bus: Bus, caller: RawPeer, definition: ServiceDefinition
) -> None:
    launcher = launcher_of(bus, definition)
    served(bus, caller, launcher).disconnect()
    launcher.ends("disk")
    assert launcher.starts == ["disk"]
    bus.advance(1.1)
    assert launcher.starts == ["disk"] * 2
    launcher.ends("disk")
    bus.advance(1.1)
    launcher.ends("disk")
    bus.advance(1.9)
    assert len(launcher.starts) == 3
    bus.advance(0.2)
    assert len(launcher.starts) == 4


def test_always_starts_it_also_after_a_good_end_but_not_without_a_pause(bus: Bus, caller: RawPeer) -> None:
    launcher = launcher_of(bus, ALWAYS)
    worker = served(bus, caller, launcher)
    bus.advance(STABLE)
    worker.disconnect()
    launcher.ends("disk", "it ended with exit status 0", failed=False)
    assert len(launcher.starts) == 2
    serve(worker := packed_peer(bus), "disk")
    worker.disconnect()
    launcher.ends("disk", "it ended with exit status 0", failed=False)
    assert len(launcher.starts) == 2
    bus.advance(1.1)
    assert len(launcher.starts) == 3


def test_on_failure_leaves_a_good_end_alone(bus: Bus, caller: RawPeer) -> None:
    launcher = launcher_of(bus, KEPT)
    served(bus, caller, launcher).disconnect()
    launcher.ends("disk", "it ended with exit status 0", failed=False)
    bus.advance(600)
    assert launcher.starts == ["disk"]


# Idle


def test_without_calls_it_is_stopped_and_the_next_call_starts_it_again(bus: Bus, caller: RawPeer) -> None:
    launcher = launcher_of(bus, IDLE)
    worker = served(bus, caller, launcher)
    bus.advance(59)
    assert launcher.stopping == set()
    bus.advance(62)
    assert launcher.stopping == {"disk"}
    during = ask(caller, 2)
    assert ids_of(worker.receive()) == [], "whoever is told to end gets no calls any more"
    worker.disconnect()
    launcher.ends("disk", "it was ended by SIGTERM")
    serve_and_answer(packed_peer(bus), caller, during)
    assert len(launcher.starts) == 2
    assert state_of(bus, "disk").failures == 0


def test_it_is_not_idle_while_it_is_called_or_works(bus: Bus, caller: RawPeer) -> None:
    launcher = launcher_of(bus, IDLE)
    worker = served(bus, caller, launcher)
    for number in range(2, 8):
        bus.advance(50)
        worker.send(result(ask(caller, number), "disk"))
    long = ask(caller, 9)
    bus.advance(600)
    assert launcher.stopping == set()
    worker.send(result(long, "disk"))
    bus.advance(121)
    assert launcher.stopping == {"disk"}


def test_whom_this_broker_has_not_started_it_does_not_stop(bus: Bus, caller: RawPeer) -> None:
    launcher = launcher_of(bus, IDLE)
    RawPeer(bus, "disk")
    bus.advance(600)
    assert launcher.stopping == set()
    assert not service_of(bus, "disk").stop(bus.now)


# Others who serve the object


def test_somebody_else_who_serves_it_first_ends_the_wait(bus: Bus, launcher: FakeLauncher, caller: RawPeer) -> None:
    call_id = ask(caller)
    other = packed_peer(bus)
    serve_and_answer(other, caller, call_id)
    late = packed_peer(bus)
    late.send(register("disk"))
    assert error_of(late.receive()[0])["code"] == "name_taken"
    launcher.ends("disk", "it ended with exit status 1")
    bus.advance(SETTLE + 0.1)
    told = state_of(bus, "disk")
    assert (told.state, told.pid, told.failures) == ("running", None, 0)
    other.disconnect()
    assert state_of(bus, "disk").state == "stopped"
    ask(caller)
    assert len(launcher.starts) == 2


def test_somebody_who_serves_it_while_it_stops_takes_over_when_it_has_ended(bus: Bus, caller: RawPeer) -> None:
    launcher = launcher_of(bus, IDLE)
    worker = packed_peer(bus)
    ask(caller)
    serve(worker, "disk", "shared")
    worker.send(result(f"{caller.prefix}1", "disk"))
    other = packed_peer(bus)
    serve(other, "disk", "shared")
    caller.receive()
    bus.advance(121)
    call_id = ask(caller, 2)
    worker.disconnect()
    launcher.ends("disk", "it was ended by SIGTERM")
    assert ids_of(other.receive()) == []
    bus.advance(SETTLE + 0.1)
    assert ids_of(other.receive()) == [call_id]
    assert len(launcher.starts) == 1


# What people ask for


def test_start_and_stop(bus: Bus, launcher: FakeLauncher, caller: RawPeer) -> None:
    service = service_of(bus, "disk")
    service.start(bus.now)
    service.start(bus.now)
    assert launcher.starts == ["disk"]
    worker = packed_peer(bus, "disk")
    assert service.stop(bus.now)
    assert service.stop(bus.now)
    service.start(bus.now)
    assert launcher.starts == ["disk"]
    worker.disconnect()
    launcher.ends("disk", "it was ended by SIGTERM")
    assert launcher.starts == ["disk"] * 2
    assert service.stop(bus.now)
    launcher.ends("disk", "it was ended by SIGTERM")
    assert state_of(bus, "disk").state == "stopped"
    assert service.stop(bus.now), "it was stopped already"


def test_stop_refuses_the_calls_that_wait(bus: Bus, launcher: FakeLauncher, caller: RawPeer) -> None:
    ask(caller)
    assert service_of(bus, "disk").stop(bus.now)
    bus.flush()
    assert failure(caller).message == "'disk' cannot be started: it was stopped"
    launcher.ends("disk", "it was ended by SIGTERM")
    assert (state_of(bus, "disk").state, state_of(bus, "disk").failures) == ("stopped", 0)


def test_start_does_not_wait_for_the_backoff(bus: Bus, launcher: FakeLauncher, caller: RawPeer) -> None:
    for _ in range(4):
        service_of(bus, "disk").start(bus.now)
        launcher.ends("disk")
    assert len(launcher.starts) == 4


def test_stop_ends_the_restarts(bus: Bus, caller: RawPeer) -> None:
    launcher = launcher_of(bus, ALWAYS)
    ask(caller)
    launcher.ends("disk")
    assert service_of(bus, "disk").stop(bus.now)
    bus.advance(600)
    assert launcher.starts == ["disk"]
    assert state_of(bus, "disk").state == "stopped"


# Units of systemd


def test_a_unit_is_started_by_a_call_and_stopped_when_it_is_idle(bus: Bus, caller: RawPeer) -> None:
    launcher = launcher_of(bus, UNIT)
    worker = served(bus, caller, launcher)
    bus.advance(121)
    assert launcher.stopping == {"disk"}
    call_id = ask(caller, 2)
    worker.disconnect()
    launcher.ends("disk", "it was stopped", failed=False)
    serve_and_answer(packed_peer(bus), caller, call_id)
    assert len(launcher.starts) == 2


def test_a_unit_that_serves_nothing_in_time_is_left_to_systemd(bus: Bus, caller: RawPeer) -> None:
    launcher = launcher_of(bus, UNIT)
    ask(caller)
    bus.advance(10.1)
    assert "it did not serve 'disk' within 10 s" in failure(caller).message
    assert launcher.stopping == set()
    call_id = ask(caller, 2)
    assert len(launcher.starts) == 2
    serve_and_answer(packed_peer(bus), caller, call_id)


def test_a_unit_that_cannot_be_stopped_goes_on(bus: Bus, caller: RawPeer) -> None:
    launcher = launcher_of(bus, UNIT)
    worker = served(bus, caller, launcher)
    bus.advance(121)
    call_id = ask(caller, 2)
    launcher.ends("disk", "systemctl stop disk.service: Access denied")
    bus.advance(SETTLE + 0.1)
    assert ids_of(worker.receive()) == [call_id]
    assert state_of(bus, "disk").state == "running"


def test_a_unit_whose_connection_is_lost_is_started_again_by_a_call(bus: Bus, caller: RawPeer) -> None:
    launcher = launcher_of(bus, UNIT)
    served(bus, caller, launcher).disconnect()
    assert state_of(bus, "disk").state == "stopped"
    ask(caller)
    assert len(launcher.starts) == 2


# The broker stops


def test_a_broker_that_stops_starts_nothing(bus: Bus, caller: RawPeer) -> None:
    launcher = launcher_of(bus, ALWAYS)
    worker = served(bus, caller, launcher)
    bus.router.say_goodbye("the broker stops")
    worker.disconnect()
    caller.receive()
    ask(caller, 2)
    assert failure(caller).message == "'disk' cannot be started: the broker stops"
    launcher.ends("disk")
    bus.advance(600)
    assert launcher.starts == ["disk"]


def test_calls_that_wait_when_the_broker_stops_may_still_be_served(
    bus: Bus, launcher: FakeLauncher, caller: RawPeer
) -> None:
    call_id = ask(caller)
    worker = packed_peer(bus)
    bus.router.say_goodbye("the broker stops")
    bus.flush()
    caller.receive()
    worker.receive()
    serve_and_answer(worker, caller, call_id)


def test_calls_that_wait_for_a_process_that_ends_while_the_broker_stops_end_too(bus: Bus, caller: RawPeer) -> None:
    launcher = launcher_of(bus, ALWAYS)
    ask(caller)
    bus.router.say_goodbye("the broker stops")
    bus.flush()
    launcher.ends("disk")
    _, answer = caller.receive()
    assert error_from(answer).code == "activation_failed"
    bus.advance(600)
    assert launcher.starts == ["disk"]
    bus.assert_no_call_is_left()


# Definitions that change


def test_a_service_that_is_not_defined_any_more_is_stopped(bus: Bus, launcher: FakeLauncher, caller: RawPeer) -> None:
    ask(caller)
    bus.router.services.replace([], bus.now)
    bus.flush()
    assert failure(caller).message == "'disk' cannot be started: its service is not defined any more"
    assert launcher.stopping == {"disk"}
    ask(caller)
    [answer] = map(error_from, caller.receive())
    assert answer.code == "no_such_object"
    launcher.ends("disk", "it was ended by SIGTERM")
    assert bus.router.services.find("disk") is None
    bus.advance(600)
    assert launcher.starts == ["disk"]


def test_one_that_is_defined_again_while_it_ends_waits_for_that(
    bus: Bus, launcher: FakeLauncher, caller: RawPeer
) -> None:
    worker = served(bus, caller, launcher)
    bus.router.services.replace([], bus.now)
    bus.router.services.replace([KEPT], bus.now)
    call_id = ask(caller, 2)
    assert launcher.starts == ["disk"]
    worker.disconnect()
    launcher.ends("disk", "it was ended by SIGTERM")
    serve_and_answer(packed_peer(bus), caller, call_id)


def test_a_definition_that_changes_holds_from_the_next_start_on(
    bus: Bus, launcher: FakeLauncher, caller: RawPeer
) -> None:
    worker = served(bus, caller, launcher)
    bus.router.services.replace([KEPT], bus.now)
    assert state_of(bus, "disk").state == "running"
    worker.disconnect()
    launcher.ends("disk")
    bus.advance(1.1)
    assert len(launcher.starts) == 2


def test_an_object_that_is_served_already_gets_its_service(bus: Bus, caller: RawPeer) -> None:
    worker = packed_peer(bus, "disk")
    launcher = launcher_of(bus, DISK)
    worker.send(result(ask(caller), "disk"))
    assert caller.receive() == [result(f"{caller.prefix}1", "disk")]
    worker.disconnect()
    ask(caller)
    assert launcher.starts == ["disk"]
    bus.router.services.replace([], bus.now)
    bus.flush()
    failure(caller)
    other = packed_peer(bus, "disk")
    ask(caller)
    assert len(ids_of(other.receive())) == 1


def test_nothing_is_left_behind(bus: Bus, launcher: FakeLauncher, caller: RawPeer) -> None:
    worker = served(bus, caller, launcher)
    ask(caller)
    caller.disconnect()
    worker.disconnect()
    launcher.ends("disk")
    bus.assert_empty()
