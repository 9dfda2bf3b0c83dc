"""Windows named pipes: for their owner and whom it lets in, opened only where their broker is to be trusted.

What asyncio has for them, `start_serving_pipe` and `create_pipe_connection`, gives no access rights to the one, and lets the
server act in the client's name with the other. Its transport and its waiting for a client are used all the same; neither has
changed, nor got a public name, since Python 3.4.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Collection
from typing import TypeVar

from ..address import Address
from ..destination import Destination
from ..errors import ConfigError

logger = logging.getLogger("ipc_broker")

AnyProtocol = TypeVar("AnyProtocol", bound=asyncio.Protocol)

if sys.platform == "win32":
    import _winapi
    from asyncio.windows_utils import PipeHandle
    from typing import Any, cast

    from ..errors import ListenFailed
    from ..identity.accounts import account_name, own_sid
    from ..identity.pipe_access import descriptor_of
    from ..identity.pipe_ends import create_instance, open_end, owner_of
    from ..identity.trust import require_trusted_pipe
    from .accepting import RETRY

    SHORTEST_WAIT, LONGEST_WAIT = 0.001, 0.1
    """Seconds between two attempts at a pipe all of whose instances are taken: nothing tells when one is free."""

    async def open_pipe(destination: Destination, factory: Callable[[], AnyProtocol]) -> AnyProtocol:
        """Raises UntrustedBroker, OSError; ConfigError in an event loop that has no pipes."""
        loop = _proactor_loop(destination.address)
        path = _path_of(destination.address)
        wait = SHORTEST_WAIT
        while True:
            try:
                pipe = PipeHandle(open_end(path))
                break
            except OSError as error:
                if error.winerror != _winapi.ERROR_PIPE_BUSY:
                    raise
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT)
        try:
            require_trusted_pipe(pipe.fileno(), destination.address, destination.trusted)
            protocol = factory()
        except BaseException:
            pipe.close()
            raise
        loop._make_duplex_pipe_transport(pipe, protocol, extra={"addr": path})
        return protocol

    def listen_pipe(
        address: Address, factory: Callable[[], asyncio.Protocol], others: Collection[str] = ()
    ) -> PipeListener:
        """`others` are SIDs of users and groups who can connect besides the owner, the system and administrators.

        Raises ListenFailed, OSError; ConfigError in an event loop that has no pipes.
        """
        return PipeListener(address, factory, others)

    class PipeListener:
        """There is always an instance of the pipe that waits for the next client: else another could make the pipe anew."""

        def __init__(
            self, address: Address, factory: Callable[[], asyncio.Protocol], others: Collection[str] = ()
        ) -> None:
            self.address = address
            self._factory = factory
            self._loop = _proactor_loop(address)
            self._path = _path_of(address)
            self._descriptor = descriptor_of(own_sid(), others)
            self._trouble = ""
            self._waiting: PipeHandle | None = self._first_instance()
            self._accepting = self._loop.create_task(self._accept_all())

        def close(self) -> None:
            """Accepts no more. Connections that are open stay open. May be called again."""
            self._accepting.cancel()
            if self._waiting is not None:
                self._waiting.close()

        async def wait_closed(self) -> None:
            """What is accepted gets its protocol in the same moment."""
            await asyncio.wait([self._accepting])

        def _first_instance(self) -> PipeHandle:
            taken = f"cannot listen on {self.address}: another process serves this pipe; stop it or choose another"
            if _is_served(self._path):
                raise ListenFailed(taken)
            try:
                return PipeHandle(create_instance(self._path, self._descriptor, first=True))
            except PermissionError as error:
                raise ListenFailed(taken) from error

        def _next_instance(self) -> PipeHandle | None:
            """None where the system refuses one, which is logged once."""
            try:
                pipe = PipeHandle(create_instance(self._path, self._descriptor, first=False))
                owner = owner_of(pipe.fileno())
                if owner != own_sid():  # ours were all gone for a moment: rights and clients would be another's
                    pipe.close()
                    self._tell_trouble(f"'{account_name(owner or '')}' has made a pipe of this name meanwhile")
                    return None
            except OSError as error:
                self._tell_trouble(error.strerror or str(error))
                return None
            if self._trouble:
                self._trouble = ""
                logger.warning("connections are accepted at %s again", self.address)
            return pipe

        def _tell_trouble(self, trouble: str) -> None:
            if trouble != self._trouble:
                self._trouble = trouble
                logger.error("no more connections are accepted at %s until this is over: %s", self.address, trouble)

        async def _accept_all(self) -> None:
            while True:
                pipe = self._waiting
                if pipe is None:
                    await asyncio.sleep(RETRY)
                    self._waiting = self._next_instance()
                    continue
                try:
                    await self._loop._proactor.accept_pipe(pipe)
                except BrokenPipeError:  # whoever came has gone already
                    self._waiting = self._next_instance()
                    pipe.close()
                except OSError as error:
                    self._tell_trouble(error.strerror or str(error))
                    await asyncio.sleep(RETRY)
                    self._waiting = self._next_instance()
                    pipe.close()
                else:
                    self._waiting = self._next_instance()  # before this one can end
                    self._loop._make_duplex_pipe_transport(pipe, self._factory(), extra={"addr": self._path})
                await asyncio.sleep(0)  # a crowd that comes must not keep those waiting who are there

    def _path_of(address: Address) -> str:
        return rf"\\.\pipe\{address.location}"

    def _proactor_loop(address: Address) -> Any:
        """The running loop, with those of its methods that have no public name. Raises ConfigError."""
        loop = asyncio.get_running_loop()
        if not isinstance(loop, asyncio.ProactorEventLoop):
            raise ConfigError(f"{address}: named pipes need asyncio's ProactorEventLoop, which is Windows' default")
        return cast(Any, loop)

    def _is_served(path: str) -> bool:
        # To make the first instance is refused where there is one, but not on every Windows: not under Wine.
        try:
            _winapi.WaitNamedPipe(path, 1)
        except FileNotFoundError:
            return False
        except OSError as error:
            return error.winerror == _winapi.ERROR_SEM_TIMEOUT
        return True

else:

    async def open_pipe(destination: Destination, factory: Callable[[], AnyProtocol]) -> AnyProtocol:
        raise _no_pipes(destination.address)

    def listen_pipe(
        address: Address, factory: Callable[[], asyncio.Protocol], others: Collection[str] = ()
    ) -> PipeListener:
        raise _no_pipes(address)

    def _no_pipes(address: Address) -> ConfigError:
        return ConfigError(f"{address}: named pipes are Windows'; use unix:///path or tcp://127.0.0.1:5123")

    class PipeListener:
        address: Address

        def close(self) -> None: ...

        async def wait_closed(self) -> None: ...
