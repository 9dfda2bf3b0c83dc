"""A launcher that starts nothing: the test says what becomes of each process."""

from __future__ import annotations

from ipc_broker.activation.definition import ServiceDefinition
from ipc_broker.observation import ServiceState
from ipc_broker.routing.service import Service
from tests.memory import Bus

EXIT_1 = "it ended with exit status 1; its last words: no disk"


class FakeLauncher:
    """Holds the broker to what it promises a launcher."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.running: set[str] = set()
        self.stopping: set[str] = set()
        self.units: set[str] = set()
        self.starts: list[str] = []
        self.words = ""

    def start(self, definition: ServiceDefinition) -> None:
        name = definition.object
        self.starts.append(name)
        if definition.systemd_unit:
            self.units.add(name)
        else:
            assert name not in self.running, f"a second process for '{name}'"
            self.running.add(name)

    def stop(self, definition: ServiceDefinition) -> None:
        name = definition.object
        assert name in self.running or definition.systemd_unit, f"'{name}' is stopped, but does not run"
        assert name not in self.stopping, f"'{name}' is stopped twice"
        self.stopping.add(name)

    def last_words(self, object_name: str) -> str:
        return self.words

    # What the test says

    def began(self, name: str, pid: int = 4242) -> None:
        self.bus.router.services.started(name, pid)

    def ends(self, name: str, reason: str = EXIT_1, *, failed: bool = True) -> None:
        """Its process is gone, or its unit was stopped."""
        assert name in self.running or name in self.units
        self.running.discard(name)
        self.units.discard(name)
        self.stopping.discard(name)
        self.bus.router.services.ended(name, reason, self.bus.now, failed=failed)
        self.bus.flush()
        self.bus.settle()


def launcher_of(bus: Bus, *definitions: ServiceDefinition) -> FakeLauncher:
    """The bus has these services, and nobody who would start them for real."""
    launcher = FakeLauncher(bus)
    bus.router.services.launcher = launcher
    bus.router.services.replace(definitions, bus.now)
    return launcher


def service_of(bus: Bus, name: str) -> Service:
    service = bus.router.services.find(name)
    assert service is not None
    return service


def state_of(bus: Bus, name: str) -> ServiceState:
    return service_of(bus, name).tell(bus.now)
