"""tls:// addresses: who is trusted on either side, with tokens and certificates, for both kinds of clients."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ipc_broker import Broker, BrokerConfig, Worker, connect, current_call, sync
from ipc_broker.aio import accepting
from ipc_broker.config import Tls
from ipc_broker.errors import ConfigError, ConnectFailed, PermissionDenied, UntrustedBroker
from ipc_broker.security.tokens import ID_BYTES, SECRET_BYTES, format_tokens, make_token
from ipc_broker.tls import ServerContext, client_context
from tests.aio.bus import until
from tests.authority import Authority
from tests.insecure import INSECURE

LOCAL = "tls://localhost:0"


class Desk:
    """Tells who calls it."""

    def caller(self) -> str:
        caller = current_call().caller
        return caller.name if caller is not None else ""

    def size(self, data: bytes) -> int:
        return len(data)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def token(tmp_path: Path) -> str:
    text, record = make_token("ci", time.time(), os.urandom(ID_BYTES + SECRET_BYTES))
    (tmp_path / "tokens.toml").write_text(format_tokens([record]), encoding="utf-8")
    return text


@asynccontextmanager
async def desk(tmp_path: Path, local: str, tls: Tls, listen: str = LOCAL) -> AsyncIterator[str]:
    """The address over TLS of a broker at which a desk is served; its worker is on the machine."""
    config = BrokerConfig(listen=(listen, local), tls=tls, tokens=str(tmp_path / "tokens.toml"), insecure=INSECURE)
    async with Broker(config) as broker:
        worker = Worker(broker.addresses[1])
        worker.add("desk", Desk())
        async with worker:
            yield broker.addresses[0]


Use = Callable[..., Any]


async def by_asyncio(address: str, **options: Any) -> str:
    async with connect(address, name="visitor", **options) as client:
        assert await client.call("desk", "size", [bytes(3_000_000)], returns=int) == 3_000_000
        return await client.call("desk", "caller", returns=str)


async def by_blocking(address: str, **options: Any) -> str:
    def use() -> str:
        with sync.connect(address, name="visitor", **options) as client:
            assert client.call("desk", "size", [bytes(3_000_000)], returns=int) == 3_000_000
            return client.call("desk", "caller", returns=str)

    return await asyncio.to_thread(use)


both = pytest.mark.parametrize("use", [by_asyncio, by_blocking])


@both
async def test_with_a_token(tmp_path: Path, address: str, authority: Authority, token: str, use: Use) -> None:
    async with desk(tmp_path, address, authority.broker()) as over_tls:
        assert await use(over_tls, tls=authority.ca, token=token) == "visitor"


@both
async def test_with_token_and_ca_from_the_environment(
    tmp_path: Path, address: str, authority: Authority, token: str, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_TOKEN", token)
    monkeypatch.setenv("BROKER_CA", str(authority.ca))
    async with desk(tmp_path, address, authority.broker()) as over_tls:
        assert await use(over_tls) == "visitor"


@both
async def test_with_a_certificate(
    tmp_path: Path, address: str, authority: Authority, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_CERTIFICATE", str(authority.client("ci")))
    async with desk(tmp_path, address, authority.broker(client_ca=True)) as over_tls:
        assert await use(over_tls, tls=authority.ca) == "visitor"


@both
async def test_with_a_context_of_one_s_own(
    tmp_path: Path, address: str, authority: Authority, token: str, use: Use
) -> None:
    context = ssl.create_default_context(cafile=str(authority.ca))
    async with desk(tmp_path, address, authority.broker()) as over_tls:
        assert await use(over_tls, tls=context, token=token) == "visitor"


@both
async def test_a_broker_whose_certificate_nobody_knows_is_told_nothing(
    tmp_path: Path, address: str, authority: Authority, token: str, use: Use
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    async with desk(tmp_path, address, authority.broker()) as over_tls:
        expected = f"the certificate of {over_tls} is not to be trusted ("
        with pytest.raises(UntrustedBroker, match=re.escape(expected)):
            await use(over_tls, tls=other.ca, token=token)


@both
@pytest.mark.parametrize(
    ("shown", "message"),
    [
        ("", "this address needs a token"),
        ("ipcb_000000000000_" + "0" * 64, "this broker does not know the token, or it was revoked"),
        ("nonsense", "this broker does not know the token, or it was revoked"),
    ],
)
async def test_without_a_token_that_holds(
    tmp_path: Path, address: str, authority: Authority, token: str, use: Use, shown: str, message: str
) -> None:
    async with desk(tmp_path, address, authority.broker()) as over_tls:
        with pytest.raises(PermissionDenied, match=re.escape(message)):
            await use(over_tls, tls=authority.ca, token=shown)


@both
async def test_who_speaks_no_tls_there(
    tmp_path: Path, address: str, authority: Authority, token: str, use: Use
) -> None:
    async with desk(tmp_path, address, authority.broker()) as over_tls:
        with pytest.raises(ConnectFailed):
            await use(over_tls.replace("tls:", "tcp:"), token=token)
        assert await use(over_tls, tls=authority.ca, token=token) == "visitor"


@both
async def test_a_broker_that_speaks_no_tls(address: str, authority: Authority, use: Use) -> None:
    async with Broker(BrokerConfig(listen=("tcp://127.0.0.1:0",))) as broker:
        plain = broker.addresses[0].replace("tcp:", "tls:")
        with pytest.raises(ConnectFailed, match=r"speaks no TLS that we can use|closed the connection"):
            await use(plain, tls=authority.ca, timeout=5)


async def test_garbage_is_closed_at_once(tmp_path: Path, address: str, authority: Authority) -> None:
    async with desk(tmp_path, address, authority.broker()) as over_tls:
        port = int(over_tls.rpartition(":")[2])
        for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", os.urandom(64)):
            reader, writer = await asyncio.open_connection("localhost", port)
            writer.write(garbage)
            async with asyncio.timeout(5):
                with suppress(ConnectionResetError):
                    await reader.read()  # what TLS says of it, and the end
            writer.close()


async def test_only_so_many_may_be_about_to_agree_upon_tls(
    tmp_path: Path, address: str, authority: Authority, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "MOST_HANDSHAKES", 2)
    async with desk(tmp_path, address, authority.broker(), "tls://127.0.0.1:0") as over_tls:
        port = int(over_tls.rpartition(":")[2])
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        async with asyncio.timeout(5):
            reader, one_too_many = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.read() == b""
            one_too_many.close()
            silent[0][1].close()
            silent[0][1].transport.abort()
        assert await served(over_tls, tls=authority.ca, token=token) == "visitor"
        silent[1][1].close()


async def served(address: str, **options: Any) -> str:
    """As soon as there is room."""
    while True:
        try:
            return await by_asyncio(address, **options)
        except ConnectFailed:
            await asyncio.sleep(0)


async def test_connections_that_come_to_nothing_do_not_fill_the_log(
    tmp_path: Path,
    address: str,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def told() -> list[str]:
        return [text for record in caplog.records if "came to nothing" in (text := record.getMessage())]

    async def come_to_nothing(count: int) -> None:
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            async with asyncio.timeout(5):
                with suppress(ConnectionResetError):
                    await reader.read()
            writer.close()

    monkeypatch.setattr(accepting, "LOG_AGAIN", 3600.0)
    async with desk(tmp_path, address, authority.broker(), "tls://127.0.0.1:0") as over_tls:
        port = int(over_tls.rpartition(":")[2])
        await come_to_nothing(5)
        assert len(told()) == 1


async def test_a_new_certificate_is_shown_without_a_restart(
    tmp_path: Path, address: str, authority: Authority, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ipc_broker")
    settings = authority.broker()
    async with desk(tmp_path, address, settings) as over_tls:
        await by_asyncio(over_tls, tls=authority.ca, token=token)
        (tmp_path / "new").mkdir()
        newer = Authority(tmp_path / "new")
        Path(settings.certificate).write_bytes(Path(newer.broker().certificate).read_bytes())
        assert await by_asyncio(over_tls, tls=newer.ca, token=token) == "visitor"
        assert "was read again" in caplog.text
        Path(settings.certificate).write_text("nonsense", encoding="utf-8")
        assert await by_asyncio(over_tls, tls=newer.ca, token=token) == "visitor"
        assert "the certificate stays as it was" in caplog.text


def test_older_protocols_than_tls_1_2_are_not_spoken(authority: Authority) -> None:
    for context in (ServerContext(authority.broker()).current(), client_context(authority.ca, {})):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("tls", "message"),
    [
        (Tls(), "tls:// needs a certificate and its key: tls.certificate and tls.key in the settings"),
        (Tls(certificate="/none.pem", key="/none.pem"), "/none.pem cannot be used: No such file or directory"),
    ],
)
async def test_a_broker_that_cannot_show_a_certificate_does_not_start(tls: Tls, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        await Broker(BrokerConfig(listen=(LOCAL,), tls=tls)).start()


@pytest.mark.parametrize("connects", [connect, sync.connect])
def test_a_ca_that_cannot_be_read(connects: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match=re.escape("the certificates in /none.pem cannot be used: No such file")):
        connects("tls://localhost:1", tls="/none.pem")


async def test_a_lost_connection_is_made_again_with_the_token(
    tmp_path: Path, address: str, authority: Authority, token: str
) -> None:
    async with (
        desk(tmp_path, address, authority.broker()) as over_tls,
        connect(over_tls, tls=authority.ca, token=token, name="visitor") as client,
    ):
        assert client.link._protocol is not None
        client.link._protocol.transport.abort()
        await until(lambda: client.link.session.losses == 1)
        assert await client.call("desk", "caller", returns=str) == "visitor"
