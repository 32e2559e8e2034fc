"""The kinds of features, by the key that names them in a definition."""

from rescore.compiler.features import Kind
from rescore.compiler.kinds.edges import DaysSince, Edge
from rescore.compiler.kinds.extremes import Extreme
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
}
