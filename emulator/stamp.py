"""Puts bytes that no viewer shows into a finished PNG, JPEG or WebP file. Never touches a pixel."""

import struct
import zlib

JPEG_SEGMENT_LIMIT = 65_533
PNG_HEAD_BYTES = 33  # signature and IHDR, which must stay first
RIFF_HEAD_BYTES = 12


def put(file: bytes, form: str, mark: bytes, total_bytes: int) -> bytes:
    """Insert `mark` as metadata and fill up to `total_bytes`, or a few bytes more; a longer file only gets the mark."""
    room_bytes = max(len(mark), total_bytes - len(file) - _overhead_bytes(form))
    payload = mark.ljust(room_bytes, b".")
    if form == "png":
        return file[:PNG_HEAD_BYTES] + _png_chunk(payload) + file[PNG_HEAD_BYTES:]
    if form == "jpg":
        return file[:2] + _jpeg_comments(payload) + file[2:]
    return _riff_with_chunk(file, payload)


def _overhead_bytes(form: str) -> int:
    return {"png": 20, "jpg": 4, "webp": 8}[form]


def _png_chunk(payload: bytes) -> bytes:
    body = b"tEXt" + b"padding\x00" + payload
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def _jpeg_comments(payload: bytes) -> bytes:
    pieces = [payload[at : at + JPEG_SEGMENT_LIMIT] for at in range(0, len(payload), JPEG_SEGMENT_LIMIT)]
    return b"".join(b"\xff\xfe" + struct.pack(">H", len(piece) + 2) + piece for piece in pieces)


def _riff_with_chunk(file: bytes, payload: bytes) -> bytes:
    even = payload + b"." * (len(payload) % 2)
    chunks = file[RIFF_HEAD_BYTES:] + b"TORI" + struct.pack("<I", len(even)) + even
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks
