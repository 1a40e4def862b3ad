"""A server with TLS before a plain one, with certificates of an authority of the tests."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """Files of an authority, of a server `localhost`, and of a client."""

    ca: Path
    other_ca: Path
    client: Path
    client_key: Path
    server: ssl.SSLContext


def certificates(folder: Path, *, name: str = "localhost", ask_clients: bool = False) -> Certificates:
    """`name`: of the server; `ask_clients`: it takes none without a certificate."""
    authority, other = trustme.CA(), trustme.CA()
    of_client = authority.issue_cert("worker@example.test")
    files = {key: folder / f"{key}.pem" for key in ("ca", "other_ca", "client", "client_key")}
    files["ca"].write_bytes(authority.cert_pem.bytes())
    files["other_ca"].write_bytes(other.cert_pem.bytes())
    files["client"].write_bytes(b"".join(part.bytes() for part in of_client.cert_chain_pems))
    files["client_key"].write_bytes(of_client.private_key_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    if ask_clients:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
    return Certificates(**files, server=context)


@contextmanager
def tls_before(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """Yield a port of this machine where the server at `port` is reached by TLS."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _joined(reader, writer, "127.0.0.1", port)

    with _serving(connected, context) as here:
        yield here


@contextmanager
def tls_if_wished(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """Yield a port where the server at `port` is reached as it is, and by TLS, as the client begins.

    Sentinels and replicas of a server without TLS reach it under the address that clients get.
    """
    with tls_before(port, context) as with_tls, socket.create_server(("127.0.0.1", 0)) as here:
        threading.Thread(target=_by_first_byte, args=(here, port, with_tls), daemon=True).start()
        try:
            yield int(here.getsockname()[1])
        finally:
            here.shutdown(socket.SHUT_RDWR)


def _by_first_byte(here: socket.socket, plain: int, with_tls: int) -> None:
    while True:
        try:
            client, _ = here.accept()
        except OSError:
            return
        threading.Thread(target=_pass_on, args=(client, plain, with_tls), daemon=True).start()


def _pass_on(client: socket.socket, plain: int, with_tls: int) -> None:
    begins_tls = client.recv(1, socket.MSG_PEEK) == b"\x16"  # RFC 8446, 5.1
    with client, socket.create_connection(("127.0.0.1", with_tls if begins_tls else plain)) as there:
        back = threading.Thread(target=_pour, args=(there, client), daemon=True)
        back.start()
        _pour(client, there)
        back.join()


def _pour(source: socket.socket, to: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            to.sendall(data)
    with suppress(OSError):
        to.shutdown(socket.SHUT_WR)


@contextmanager
def proxy(asked: list[str]) -> Iterator[str]:
    """Yield the URL of a proxy that tunnels (RFC 9110, 9.3.6); `asked` gets where to."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target = head.split()[:2]
        asked.append(f"{method} {target}")
        host, _, port = target.rpartition(":")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await _joined(reader, writer, host, int(port))

    with _serving(connected) as here:
        yield f"http://127.0.0.1:{here}"


Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextmanager
def _serving(connected: Connected, context: ssl.SSLContext | None = None) -> Iterator[int]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)

    async def stop(server: asyncio.Server) -> None:
        server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0.05)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        asyncio.run_coroutine_threadsafe(stop(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
    try:
        there, back = await asyncio.open_connection(host, port)
        try:
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        finally:
            back.close()
    except OSError:
        pass
    finally:
        writer.close()


async def _copy(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65_536):
            to.write(data)
            await to.drain()
        to.close()
