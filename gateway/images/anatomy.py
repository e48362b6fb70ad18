"""How many parts a picture's file is made of, counted without decoding. Judges no pixel and no checksum.

A decoder takes its time for each part, however small: a scan of 33 bytes passes over all of a JPEG's pixels once more,
so that 20 MiB of them would keep a core busy for hours. Files of cameras and encoders have few.
"""

import re
from typing import Final

#: A progressive JPEG has ten or so.
SCANS_MAX: Final = 100
#: Profiles and previews come in pieces of 64 KiB, a PNG's pixels in pieces of 8 KiB and more.
PIECES_MAX: Final = 20_000
#: What may lie between the segments of a JPEG; readers pass over it byte by byte.
_STRAY_MAX: Final = 64 * 1024

#: A marker that is not part of a scan: no stuffed zero, no fill, no restart, and not TEM (ITU-T T.81, table B.1).
_MARKER: Final = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])")
_START_OF_SCAN: Final = 0xDA
_END: Final = 0xD9
#: No length follows these, or none that a reader heeds.
_ALONE: Final = frozenset({0xC8, 0xD8, _END, *range(0xF0, 0xFE)})
_PNG_BEGINS: Final = 8
_PNG_AROUND: Final = 12


def crowded_jpeg(data: bytes) -> bool:
    """Whether a JPEG has more scans, segments or stray bytes than any encoder makes."""
    at, pieces, scans, stray, in_scan = 2, 0, 0, 0, False
    while (found := _MARKER.search(data, at)) is not None:
        code, end = found[1][0], found.end()
        pieces, scans = pieces + 1, scans + (code == _START_OF_SCAN)
        stray += 0 if in_scan else found.start() - at
        if pieces > PIECES_MAX or scans > SCANS_MAX or stray > _STRAY_MAX:
            return True
        if code == _END and scans:
            return False
        in_scan = code == _START_OF_SCAN
        at = end if code in _ALONE else end + max(int.from_bytes(data[end : end + 2]), 2)
    return not in_scan and stray + len(data) - at > _STRAY_MAX


def crowded_png(data: bytes) -> bool:
    """Whether a PNG has more chunks than any encoder makes."""
    at = _PNG_BEGINS
    for _ in range(PIECES_MAX):
        if at >= len(data) or data[at + 4 : at + 8] == b"IEND":
            return False
        at += _PNG_AROUND + int.from_bytes(data[at : at + 4])
    return True
