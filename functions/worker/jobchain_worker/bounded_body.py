"""Bounds the bodies that the model's server sends, while they arrive: as they were sent, and decompressed."""

import zlib
from collections.abc import AsyncIterator, Callable

import httpx2

MOST_BODY_BYTES = 8 * 2**20
"""The largest body that is read. The largest answer that can be used has 100,000 characters, and its reasoning more."""

ACCEPTED_ENCODING = "gzip"
"""The value of Accept-Encoding. httpx2 would also accept what this module does not decompress."""


class UnreadableBody(httpx2.DecodingError):
    """The body is too large, or its compression is broken or unknown; the message says which."""


def bound(response: httpx2.Response) -> None:
    """Has the body of a response end in UnreadableBody where it is too large. To be called before it is read."""
    if not response.is_stream_consumed and isinstance(response.stream, httpx2.AsyncByteStream):
        encoding = response.headers.pop("Content-Encoding", "identity").strip().lower()
        response.stream = _BoundedStream(response.stream, encoding)


class _BoundedStream(httpx2.AsyncByteStream):
    """The decompressed parts of a stream."""

    def __init__(self, stream: httpx2.AsyncByteStream, encoding: str) -> None:
        self._stream = stream
        self._encoding = encoding

    async def __aiter__(self) -> AsyncIterator[bytes]:
        decoder = _decoder(self._encoding)
        received = decoded = 0
        async for part in self._stream:
            received += len(part)
            # One byte more than there is room for, which tells that it is too many.
            piece = decoder.decode(part, MOST_BODY_BYTES - decoded + 1)
            decoded += len(piece)
            if max(received, decoded) > MOST_BODY_BYTES:
                raise UnreadableBody(f"it has more than {MOST_BODY_BYTES // 2**20} MB")
            yield piece
        decoder.check_end()

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Identity:
    def decode(self, part: bytes, _most: int) -> bytes:
        return part

    def check_end(self) -> None:
        pass


class _Gzip:
    def __init__(self) -> None:
        self._decompressor = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def decode(self, part: bytes, most: int) -> bytes:
        try:
            return self._decompressor.decompress(part, most)
        except zlib.error:
            raise UnreadableBody(_BROKEN) from None

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
