"""``rescore quality``: what came of the scores that were served, by version or by week.

It reads the views, so that every member of rescore_reader may ask.
"""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import zip_longest
from typing import Any

from psycopg.rows import dict_row

from rescore.trainer.database import Connection, query, translated

Row = dict[str, Any]

METRICS = ("auc", "log_loss", "brier", "mse", "mae", "mean_score", "base_rate")
"""What is told of a version, where it is known; the last is the mean of labels that are numbers."""
OF_WEEKS = ("base_rate", "mean_score", "log_loss", "brier", "mse", "mae")


def by_version(conn: Connection, model: str | None = None) -> list[Row]:
    """Return what came of each version's scores, newest first.

    As it was judged, with intervals; a version that was never champion, or whose label is a number,
    is not judged: of it, what its weeks say together.

    Parameters
    ----------
    model: only this one.

    Raises
    ------
    UnknownModel
    """
    return _rows(conn, "quality", model)


def by_week(conn: Connection, model: str | None = None) -> list[Row]:
    """Return what came of the scores of each week: the rows of ``rescore.live_quality``.

    Parameters
    ----------
    model: only this one.

    Raises
    ------
    UnknownModel
    """
    return _rows(conn, "quality_weeks", model)


def _rows(conn: Connection, name: str, model: str | None) -> list[Row]:
    given = {"model": model}
    with translated(), conn.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(query(name), given).fetchall()
        if not found and model is not None:
            cursor.execute(query("quality_model"), given)
    return found


def version_lines(row: Row) -> list[Row]:
    """Return a version as rows of a table: what it served beside its metrics, one a row."""
    each = zip_longest(_served(row), _metrics(row), fillvalue=None)
    lines = [
        {"version": None, "served": text, "metric": name, "value": value}
        for text, (name, value) in ((text, found or (None, None)) for text, found in each)
    ]
    return [{**lines[0], "version": row["version"]}, *lines[1:]]


def week_lines(row: Row) -> list[Row]:
    """Return a week as the only row of a table."""
    left_out = {name: row[name] for name in ("treated", "censored", "corrected") if row[name]}
    if row["quarantined"]:
        left_out["kept out"] = row["quarantined"]
    line = {
        "version": row["version"],
        "week": _day(row["week"]) + (" held out" if row["holdout"] else ""),
        "examples": f"{row['examples']} of {row['customers']} customers",
        **{name: row[name] for name in OF_WEEKS},
        "besides": ", ".join(f"{count} {what}" for what, count in left_out.items()),
    }
    return [line]


def _served(row: Row) -> list[str]:
    """Say when a version served, on how much its metrics rest, and what is still to come."""
    lines = []
    if row["began"]:
        lines.append(f"{_day(row['began'])} to {_day(row['ended'])}")
    elif row["first_week"]:
        lines.append(f"week of {_day(row['first_week'])}")
        if row["last_week"] > row["first_week"]:
            lines.append(f"to that of {_day(row['last_week'])}")
    counted = ("examples", "customers", "open")
    lines += [f"{row[name]} {name}" for name in counted if row[name]]
    if row["open"]:
        lines.append(f"due from {_day(row['due_from'])} on")
    return lines or ["nothing resolved"]


def _metrics(row: Row) -> list[tuple[str, str]]:
    found = [(name, _number(row, name)) for name in METRICS if row[name] is not None]
    if row["gain"] is not None:
        found.append((f"gain over {row['against']}", _number(row, "gain")))
    if row["against"] is not None:
        found.append(("verdict", f"{row['verdict']} in {row['metric']}"))
    return found


def _number(row: Row, name: str) -> str:
    """Return a number with its interval, where it has one."""
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    known = low is not None and high is not None
    return f"{row[name]:.4g}" + (f" ({low:.4g} to {high:.4g})" if known else "")


def _day(moment: datetime) -> str:
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d}"
