"""Lets containers reach a port of this machine's 127.0.0.1: forwards connections from another of its addresses."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator

_CHUNK = 65536


@contextlib.contextmanager
def relay(host: str, port: int) -> Iterator[int]:
    """Forward what connects to a free port of `host` to `port` of 127.0.0.1, while the context lasts; gives that port.

    Raises OSError where `host` is no address of this machine.
    """
    loop = asyncio.new_event_loop()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # That the end cancels it is no error either: asyncio would print one.
        with contextlib.suppress(OSError, asyncio.CancelledError):
            async with _closing(writer):
                there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
                async with _closing(there_writer):
                    await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))

    try:
        server = loop.run_until_complete(asyncio.start_server(connected, host, 0))
    except OSError:
        loop.close()
        raise
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand on what is read until there is no more, and say so to the other side."""
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def _end(server: asyncio.Server) -> None:
    server.close()
    # A connection that was accepted in the last moment becomes a task after the others have ended.
    await asyncio.sleep(0)
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
