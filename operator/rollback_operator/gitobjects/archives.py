"""Charts that are packed: the texts in them, as far as they are not too large."""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable

_ROOM = 16 * 2**20
"""Bytes that all archives may have when they are unpacked."""
_GZIP = 31
_ARCHIVE = re.compile(r".*\.t(?:ar\.)?gz", re.DOTALL)


def texts(packed: Iterable[bytes], is_meant: Callable[[str], bool]) -> tuple[list[bytes], bool]:
    """What is in the files that are meant, and whether that is all: archives in archives are left out."""
    found: list[bytes] = []
    is_all, room = True, _ROOM
    for one in packed:
        try:
            content = _unpacked(one, room)
            room -= len(content)
            with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
                for member in archive:
                    is_all = is_all and (member.isreg() or member.isdir()) and not _ARCHIVE.fullmatch(member.name)
                    if is_meant(member.name):
                        # Not by `extractfile`: a file with holes may be of any size.
                        found.append(content[member.offset_data : member.offset_data + member.size])
        except (zlib.error, tarfile.TarError, ValueError, EOFError, OverflowError):
            is_all = False
    return found, is_all


def _unpacked(packed: bytes, room: int) -> bytes:
    unpacking = zlib.decompressobj(_GZIP)
    found = unpacking.decompress(packed, room) if room > 0 else b""
    if not unpacking.eof or unpacking.unused_data:
        raise ValueError("there is more of it")
    return found
