"""Whatever happens in whatever order, a service has one process at most, and every call ends."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ipc_broker.activation.definition import Restart, ServiceDefinition
from ipc_broker.routing.service import Service, State
from tests.memory import Bus, RawPeer
from tests.messages import call, register, result
from tests.routing.launching import launcher_of
from tests.routing.peers import cancel, ids_of, packed_peer, register_as
from tests.seed.frames import Json


class Services(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.bus = Bus()
        self.definition = ServiceDefinition(object="disk", exec=("worker",))
        self.launcher = launcher_of(self.bus, self.definition)
        self.caller = packed_peer(self.bus)
        self.workers: list[RawPeer] = []
        self.calls = 0

    @property
    def service(self) -> Service | None:
        return self.bus.router.services.find("disk")

    @rule(seconds=st.sampled_from([0.0, 0.3, 1.1, 9.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.bus.advance(seconds)

    @rule(timeout=st.sampled_from([0, 500, 20_000]))
    def somebody_calls(self, timeout: int) -> None:
        self.calls += 1
        message = call(f"{self.caller.prefix}{self.calls}", "disk", "free")
        message["Call"]["timeout_ms"] = timeout
        self.caller.send(message)
        self.bus.settle()

    @precondition(lambda self: self.caller.peer.calls)
    @rule(data=st.data())
    def somebody_cancels(self, data: st.DataObject) -> None:
        self.caller.send(cancel(data.draw(st.sampled_from(sorted(self.caller.peer.calls)))))
        self.bus.settle()

    @rule(concurrency=st.sampled_from([0, 1]))
    def somebody_serves(self, concurrency: int) -> None:
        worker = packed_peer(self.bus)
        worker.send(register_as("disk", "shared", concurrency) if concurrency else register("disk"))
        if "Registered" in worker.receive()[0]:
            self.workers.append(worker)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def a_worker_answers(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        worker.send(*(result(call_id, "disk") for call_id in worker.peer.serving))
        self.bus.settle()

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), politely=st.booleans())
    def a_worker_goes(self, data: st.DataObject, politely: bool) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        if politely:
            arguments: Json = {"object_name": "disk", "keep_calls": True}
            worker.send(call(f"{worker.prefix}u", "rob", "unregister", arguments))
            self.bus.settle()
        else:
            self.workers.remove(worker)
            worker.disconnect()

    @precondition(lambda self: self.launcher.running)
    @rule(failed=st.booleans())
    def the_process_ends(self, failed: bool) -> None:
        self.launcher.ends("disk", failed=failed)

    @precondition(lambda self: self.service is not None)
    @rule(stop=st.booleans())
    def people_start_and_stop_it(self, stop: bool) -> None:
        assert self.service is not None
        if stop:
            self.service.stop(self.bus.now)
        else:
            self.service.start(self.bus.now)
        self.bus.flush()
        self.bus.settle()

    @rule(
        defined=st.booleans(),
        restart=st.sampled_from(["never", "on-failure", "always"]),
        idle_stop=st.sampled_from([0.0, 5.0]),
    )
    def files_change(self, defined: bool, restart: Restart, idle_stop: float) -> None:
        self.definition = ServiceDefinition(object="disk", exec=("worker",), restart=restart, idle_stop=idle_stop)
        self.bus.router.services.replace([self.definition] if defined else [], self.bus.now)
        self.bus.flush()
        self.bus.settle()

    @invariant()
    def what_it_says_is_so(self) -> None:
        name = self.bus.router.names.find("disk")
        service = self.service
        if service is None:
            assert name is None or name.service is None
            return
        assert service.name.service is service
        assert name is None or name is service.name
        assert service.alive == ("disk" in self.launcher.running)
        assert (service.state is State.STOPPING) == (service.alive and "disk" in self.launcher.stopping) or name
        if service.name.members:
            assert service.state in (State.RUNNING, State.STOPPING)
        else:
            assert service.state is not State.RUNNING
            assert not service.name.waiting or service.comes

    @invariant()
    def whoever_waits_has_something_to_wait_for(self) -> None:
        service = self.service
        if service is not None and service.state is State.STARTING:
            assert service.due is not None

    def teardown(self) -> None:
        """All callers hear something once all workers have answered and all processes that are told to end do."""
        for worker in self.workers:
            worker.send(*(result(call_id, "disk") for call_id in worker.peer.serving))
            self.bus.settle()
            worker.disconnect()
        for _ in range(3):
            self.bus.advance(11)
            if self.launcher.running:
                self.launcher.ends("disk")
        assert ids_of(self.caller.receive()) == []
        self.bus.assert_no_call_is_left()


TestServices = Services.TestCase
TestServices.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
