"""What the asyncio client asks of an object before its calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..conformance import require_conformance
from ..description import ObjectDescription
from ..errors import NoSuchObject
from ..session import BROKER_OBJECT
from ..session.describing import ANSWER, require_described
from .retrying import wait_to_retry
from .stream import Stream

if TYPE_CHECKING:
    from .client import Client


async def describe(client: Client, object_name: str, timeout: float | None) -> ObjectDescription:
    """Raises NoSuchObject, and NoSuchMethod where the broker cannot tell."""
    loop = client.link.loop
    deadline = None if timeout is None else loop.time() + timeout
    while True:
        left = None if deadline is None else max(deadline - loop.time(), 0.0)
        try:
            answer = await client.call(BROKER_OBJECT, "describe", {"object": object_name}, timeout=left, returns=ANSWER)
        except NoSuchObject as error:
            error.object = object_name
            await wait_to_retry(client.link, error, deadline)
        else:
            return require_described(answer, client.address)


class CheckedObject:
    """Calls of an object that is held against a class before the first of them; again, when it did not fit."""

    def __init__(self, client: Client, name: str, api: Any) -> None:
        self._client = client
        self._name = name
        self._api = api
        self._fits = False

    async def call(self, object_name: str, method: str, args: Any, **options: Any) -> Any:
        await self._check()
        return await self._client.call(object_name, method, args, **options)

    def stream(self, object_name: str, method: str, args: Any, *, returns: Any, headers: Any = None) -> Stream[Any]:
        link = self._client.link
        return Stream(link, object_name, method, args, returns, timeout=None, headers=headers, check=self._check)

    async def _check(self) -> None:
        if not self._fits:
            require_conformance(self._api, await self._client.describe(self._name))
            self._fits = True
