"""When an event counts: from a moment on, until another. SQL over the event row ``e``.

A window of length W, offset O and bucket B counts an event of time t from O after t until W + O
after t, both rounded up to the next bucket: while the clock is in a bucket nothing falls out, so
that a stored value holds until a moment known beforehand. Buckets begin at Monday,
2000-01-03 00:00 UTC; a day is 24 hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from rescore.compiler.definition import Feature
from rescore.compiler.quoting import literal

MOMENT = "rescore_v_moment"
"""The variable of generated functions that holds the moment stored values are for."""

ORIGIN = "timestamptz '2000-01-03 00:00:00+00'"
LAST = "timestamptz '290000-01-01 00:00:00+00'"
NICE = tuple(timedelta(seconds=n) for n in (1, 60, 3_600, 86_400))
BUCKETS = 24


@dataclass(frozen=True)
class Window:
    """When an event counts.

    Attributes
    ----------
    enters: SQL of the moment from which it counts; empty: from its own time on.
    leaves: SQL of the moment from which it counts no more.
    reach: after this time an event has left for certain.
    recent: for so long after its time an event has neither entered, where it enters later, nor
        left; 0 where that is not known.
    bucket: to which the moments it enters and leaves are rounded up, after ``recent``.
    """

    enters: str
    leaves: str
    reach: timedelta
    recent: timedelta = timedelta()
    bucket: timedelta = timedelta()

    @property
    def holds(self) -> str:
        """SQL condition: the event counts at the moment."""
        entered = f"{MOMENT} >= {self.enters} AND " if self.enters else ""
        return f"{entered}{MOMENT} < {self.leaves}"

    @property
    def changes(self) -> str:
        """SQL: the next moment at which the event begins or ceases to count; NULL if none."""
        entering = f"WHEN {MOMENT} < {self.enters} THEN {self.enters} " if self.enters else ""
        return f"CASE {entering}WHEN {MOMENT} < {self.leaves} THEN {self.leaves} END"


@dataclass(frozen=True)
class Recent(Window):
    """A window as an event sees it that came less than ``recent`` ago."""

    @property
    def holds(self) -> str:
        """SQL condition: the event counts at the moment."""
        return "false" if self.enters else "true"


def first_changes(windows: Sequence[Window]) -> list[str]:
    """Return SQL of moments, the least of which is when a recent event first enters or leaves one.

    A moment that lies behind another's next bucket is never the least.
    """
    first = {w.enters or w.leaves: (w.recent, w.bucket) for w in windows}
    soonest = min((after + bucket for after, bucket in first.values()), default=timedelta())
    return [sql for sql, (after, _) in first.items() if after < soonest]


def window_of(feature: Feature, time: str) -> Window | None:
    """Return the window of a feature whose events have this time; None if it has none."""
    if feature.tumbling is not None:
        return _tumbling(feature.tumbling, time, feature.closed is True)
    if feature.window is None:
        return None
    offset = feature.offset or timedelta()
    bucket = feature.bucket or default_bucket(feature.window)
    enters = _rounded_up(time, offset, bucket) if offset else ""
    leaves = _rounded_up(time, offset + feature.window, bucket)
    return Window(
        enters, leaves, offset + feature.window + bucket, offset or feature.window, bucket
    )


def default_bucket(window: timedelta) -> timedelta:
    """Return the bucket of a window that names none.

    Examples
    --------
    >>> default_bucket(timedelta(days=30)), default_bucket(timedelta(hours=1))
    (datetime.timedelta(days=1), datetime.timedelta(seconds=60))
    """
    return max((n for n in NICE if n * BUCKETS <= window), default=NICE[0])


def interval(length: timedelta) -> str:
    """SQL of a length of time, in seconds: the same everywhere, whatever daylight saving does."""
    seconds = length.days * 86_400 + length.seconds
    text = f"{seconds}.{length.microseconds:06d}" if length.microseconds else str(seconds)
    return f"interval {literal(f'{text} seconds')}"


def _tumbling(length: timedelta, time: str, closed: bool) -> Window:
    end = f"date_bin({interval(length)}, {_known(time)}, {ORIGIN}) + {interval(length)}"
    if closed:
        return Window(end, f"{end} + {interval(length)}", 2 * length)
    return Window("", end, length)


def _rounded_up(time: str, after: timedelta, bucket: timedelta) -> str:
    late = f"{_known(time)} + {interval(after - timedelta(microseconds=1))}"
    return f"date_bin({interval(bucket)}, {late}, {ORIGIN}) + {interval(bucket)}"


def _known(time: str) -> str:
    """SQL: a time to which a window can be added; one in the last years there are never comes."""
    return f"timestamptz_smaller({time}, {LAST})"
