"""Which records the server unpickles to resolve a conflict: small ones, that cannot become more than they are. A pure function of bytes.

A pickle is a program, and a short one can ask for much: a memo of any length, one list shared a million times, a class called again and
again. A record that the image's own clients write does none of it. For one that does, the conflict stays a conflict; nothing is unpickled.
"""

from typing import Final

LARGEST: Final = 512 * 1024
"""Bytes; a conflict over a larger record is left to the client's retry."""
_CALLS = 1024
_LONGEST_INTEGER = 9
"""Bytes of 64 bits with a sign: longer ones can be made to collide in a dict."""

_FIXED: dict[int, int] = {
    **dict.fromkeys(b").(N]atbdeslu}0QR\x81\x85\x86\x87\x88\x89", 0),
    **dict.fromkeys(b"K\x80qh", 1),
    **dict.fromkeys(b"M", 2),
    **dict.fromkeys(b"Jrj", 4),
    **dict.fromkeys(b"G", 8),
}
"""Opcodes with an argument of fixed length."""
_SIZED: dict[int, int] = {**dict.fromkeys(b"CU\x8a", 1), **dict.fromkeys(b"XBT", 4)}
"""Opcodes with bytes, by the width of the length before them."""
_GLOBAL, _LONG = b"c"[0], 0x8A
_PUT, _GET, _CALL = frozenset(b"qr"), frozenset(b"hj"), frozenset(b"R\x81b")


def resolvable(record: bytes) -> bool:
    """Whether a record may be unpickled. Its containers are shared nowhere in it; texts and classes may be."""
    end = len(record)
    if end > LARGEST:
        return False
    position = calls = last = 0
    containers: set[int] = set()
    while position < end:
        code = record[position]
        position += 1
        if code in _FIXED:
            width = _FIXED[code]
            if code in _PUT or code in _GET:
                number = int.from_bytes(record[position : position + width], "little")
                if number > end or (code in _GET and number in containers):
                    return False
                if code in _PUT and last != _GLOBAL and last not in _SIZED:
                    containers.add(number)
            elif code in _CALL:
                calls += 1
                if calls > _CALLS:
                    return False
            position += width
        elif code in _SIZED:
            width = _SIZED[code]
            length = int.from_bytes(record[position : position + width], "little")
            if code == _LONG and length > _LONGEST_INTEGER:
                return False
            position += width + length
        elif code == _GLOBAL:
            module = record.find(b"\n", position)
            name = record.find(b"\n", module + 1)
            if module < 0 or name < 0:
                return False
            position = name + 1
        else:
            return False
        last = code
    return position == end
