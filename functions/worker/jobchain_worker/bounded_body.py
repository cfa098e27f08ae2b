"""Bounds the bodies that the model's server sends, while they arrive: as they were sent, and decompressed."""

import zlib
from collections.abc import AsyncIterator, Callable, Iterator

import httpx2

MOST_BODY_BYTES = 8 * 2**20
"""The largest body that is read. The largest answer that can be used has 100,000 characters, and its reasoning more."""

MOST_STREAM_BYTES = 64 * 2**20
"""The largest stream of events that is read. An event has up to 600 bytes for each token; few of them are kept."""

ACCEPTED_ENCODING = "gzip"
"""The value of Accept-Encoding. httpx2 would also accept what this module does not decompress."""

# What is decompressed at once.
_PIECE = 2**18


class UnreadableBody(httpx2.DecodingError):
    """The body is too large, or its compression is broken or unknown; the message says which."""


def is_stream(response: httpx2.Response) -> bool:
    """Whether the server declares the body of an answer as events. That of an error is read as a whole."""
    declared: str = response.headers.get("Content-Type", "")
    return response.status_code < 300 and declared.lower().startswith("text/event-stream")


def bound(response: httpx2.Response) -> None:
    """Has the body of a response end in UnreadableBody where it is too large. To be called before it is read."""
    if not response.is_stream_consumed and isinstance(response.stream, httpx2.AsyncByteStream):
        encoding = response.headers.pop("Content-Encoding", "identity").strip().lower()
        most = MOST_STREAM_BYTES if is_stream(response) else MOST_BODY_BYTES
        response.stream = _BoundedStream(response.stream, encoding, most)


class _BoundedStream(httpx2.AsyncByteStream):
    """The decompressed parts of a stream."""

    def __init__(self, stream: httpx2.AsyncByteStream, encoding: str, most: int) -> None:
        self._stream = stream
        self._encoding = encoding
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        decoder = _decoder(self._encoding)
        received = decoded = 0
        async for part in self._stream:
            received += len(part)
            self._check(received)
            for piece in decoder.decode(part):
                decoded += len(piece)
                self._check(decoded)
                yield piece
        decoder.check_end()

    def _check(self, size: int) -> None:
        if size > self._most:
            raise UnreadableBody(f"it has more than {self._most // 2**20} MB")

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Identity:
    def decode(self, part: bytes) -> Iterator[bytes]:
        yield part

    def check_end(self) -> None:
        pass


class _Gzip:
    def __init__(self) -> None:
        self._decompressor = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def decode(self, part: bytes) -> Iterator[bytes]:
        more = True
        while more:
            try:
                piece = self._decompressor.decompress(part, _PIECE)
            except zlib.error:
                raise UnreadableBody(_BROKEN) from None
            part = self._decompressor.unconsumed_tail
            # A full piece may have left output in the decompressor, even where all of the part is consumed.
            more = bool(part) or len(piece) == _PIECE
            if piece:
                yield piece

    def check_end(self) -> None:
        if not self._decompressor.eof:
            raise UnreadableBody(_BROKEN)


_BROKEN = "its compression is broken"

_DECODERS: dict[str, Callable[[], _Identity | _Gzip]] = {
    "": _Identity,
    "identity": _Identity,
    "gzip": _Gzip,
    "x-gzip": _Gzip,
}


def _decoder(encoding: str) -> _Identity | _Gzip:
    if encoding not in _DECODERS:
        raise UnreadableBody("its compression was not asked for")
    return _DECODERS[encoding]()
