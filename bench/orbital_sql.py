"""The same pipeline as SQL by `orbital`, where that is installed."""

from __future__ import annotations

import orbital  # type: ignore[import-untyped,import-not-found,unused-ignore]
from sklearn.pipeline import Pipeline

from rescore.bench import shop


def score_sql(estimator: Pipeline, features: list[shop.Feature]) -> bytes:
    """Return a query that sums orbital's probability over all profiles."""
    columns = {f.name: orbital.types.DoubleColumnType() for f in features}
    parsed = orbital.parse_pipeline(estimator, features=columns)
    query = orbital.export_sql("inputs", parsed, dialect="postgres")
    return shop.statement("scan_orbital.sql.j2", features=features, query=query)
