"""Moments as people write them: as ISO 8601 has them, and as PostgreSQL prints them."""

from __future__ import annotations

import re
from datetime import datetime, timezone

_OFFSET = re.compile(r"(?<=\d) ?(?:([Zz])|([+-]\d\d)(?::?(\d\d))?(?::?(\d\d))?)$")
_FRACTION = re.compile(r"\.(\d{1,9})(?=$|[+-])")
_CLOCK = re.compile(r"[T ]\d\d:\d\d")


def moment(text: str) -> datetime:
    """Return the moment that a text names; in UTC where it names no zone.

    Raises
    ------
    ValueError: it names none.

    Examples
    --------
    >>> moment("2025-10-20 00:00:00.25+0530").isoformat()
    '2025-10-20T00:00:00.250000+05:30'
    >>> moment("2025-10-20").isoformat()
    '2025-10-20T00:00:00+00:00'
    """
    try:
        found = datetime.fromisoformat(_iso(text.strip()))
    except ValueError:
        raise ValueError(
            f'"{text}" is no moment: write 2025-10-20, "2025-10-20 14:30" or '
            "2025-10-20T14:30:00+02:00"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _iso(text: str) -> str:
    """Return it as Python 3.10 reads it: whole offsets, and six digits after the point."""
    if not _CLOCK.match(text[10:]):
        return text if len(text) == 10 else ""  # of 2025-10-20+02 Python makes two o'clock
    text = _OFFSET.sub(_offset, text)
    return _FRACTION.sub(lambda found: "." + found[1][:6].ljust(6, "0"), text)


def _offset(found: re.Match[str]) -> str:
    zulu, hours, minutes, seconds = found.groups()
    return "+00:00" if zulu else ":".join([hours, minutes or "00", *([seconds] if seconds else [])])
