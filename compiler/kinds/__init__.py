"""The kinds of features, by the key that names them in a definition."""

from rescore.compiler.definition import Feature
from rescore.compiler.features import Kind
from rescore.compiler.kinds.decay import DecayedCount, DecayedSum, Ewma
from rescore.compiler.kinds.distinct import Distinct
from rescore.compiler.kinds.edges import DaysSince, Edge
from rescore.compiler.kinds.extremes import Extreme
from rescore.compiler.kinds.gaps import LastGap, MeanGap
from rescore.compiler.kinds.lists import LastValues
from rescore.compiler.kinds.totals import Avg, Count, Sum

KINDS: dict[str, type[Kind]] = {
    "count": Count,
    "sum": Sum,
    "avg": Avg,
    "min": Extreme,
    "max": Extreme,
    "first": Edge,
    "last": Edge,
    "days_since": DaysSince,
    "ewma": Ewma,
    "distinct": Distinct,
    "gap": MeanGap,
}
DECAYED: dict[str, type[Kind]] = {"count": DecayedCount, "sum": DecayedSum}


def kind_of(feature: Feature) -> type[Kind]:
    """Return the class of a feature of an event table."""
    if feature.last_n:
        return LastValues
    if feature.gap == "last":
        return LastGap
    return (DECAYED if feature.half_life else {}).get(feature.kind, KINDS[feature.kind])
