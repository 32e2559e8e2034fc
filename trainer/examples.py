"""Examples: design rows as of past moments, and what happened after, read in bulk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from psycopg.types.json import Jsonb

from rescore.errors import NotEnoughData, UnknownModel
from rescore.plpython.contract import Contract, Input, freeze
from rescore.trainer.database import Connection, query
from rescore.trainer.labels import Label, read_label
from rescore.trainer.learning.target import Target, typed
from rescore.trainer.loop.terms import target_of, weighed
from rescore.trainer.split import Moment
from rescore.trainer.usage import unknown_model

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_SIGNATURE = b"PGCOPY\n\xff\r\n\x00"
_HEADER = len(_SIGNATURE) + 8  # signature, flags, length of the extension
_TRAILER = 2


@dataclass(frozen=True)
class Source:
    """What the database knows of a model: its inputs, label and profile.

    Attributes
    ----------
    clock: ``now`` or ``session``: whose present the profile's scores are for.
    left_out: features whose past no table tells; they cannot be learnt from past moments.
    everybody: past rows are not limited to those that would have been scored: that past is
        unknown, too.
    champion: the version that serves, or None.
    key: name of the profile's key column.
    target: what the model tells.
    held_out: share of the customers that stands for those treated; None: these are left out.
    """

    model: str
    profile: str
    slug: str
    clock: str
    inputs: tuple[Input, ...]
    left_out: tuple[str, ...]
    everybody: bool
    spec: Mapping[str, Any]
    label: Label | None
    champion: int | None
    key: str
    target: Target
    held_out: float | None


@dataclass(frozen=True)
class Examples:
    """Design rows, shape (n, columns), and labels, shape (n,), of one moment.

    ``treated`` and ``holdout``, shape (n,), say who was treated after it and who never is.
    """

    moment: Moment
    design: Floats
    labels: NDArray[Any]
    treated: Mask
    holdout: Mask


def read_source(conn: Connection, model: str) -> Source:
    """Read what is needed to train a model.

    Raises
    ------
    UnknownModel: no such model, it is no longer defined, or it is without a label.
    """
    row = conn.execute(query("model"), (model,)).fetchone()
    if row is None:
        raise unknown_model(conn, model)
    profile, slug, clock, inputs, spec, champion, definition, plan = row
    target = _target(spec, plan)
    if not spec.get("label") and target != "segments":
        raise UnknownModel(
            f'model "{model}" has no label to learn',
            hint=f"name one under models.{model}.label and apply the definition",
        )
    unknown = set(plan.get("unknown_past") or ())
    inputs = tuple(map(Input.from_json, inputs))
    return Source(
        model,
        profile,
        slug,
        clock,
        tuple(each for each in inputs if each.name not in unknown),
        tuple(sorted(unknown & {each.name for each in inputs})),
        "only" in unknown,
        spec,
        read_label(conn, definition, plan, slug, spec["label"]) if spec.get("label") else None,
        champion,
        definition["profile"]["key"]["name"],
        target,
        weighed(definition.get("interventions")),
    )


def _target(spec: Mapping[str, Any], plan: Mapping[str, Any]) -> Target:
    label = (plan.get("labels") or {}).get(spec.get("label")) or {}
    return target_of(spec, number=bool(label.get("number")))


def regular_moments(
    conn: Connection, label: Label, *, step: str, until: datetime, most: int
) -> list[Moment]:
    """Return the newest moments one ``step`` apart whose outcomes were known at ``until``."""
    # In a statement with parameters a percent sign means one.
    begin = label.begin.as_string(None).replace("%", "%%")
    statement = query("moments", begin=written(begin))
    given = {"seconds": label.seconds, "label": label.name, "until": until, "step": step}
    given |= {"most": most}
    return [Moment(*row) for row in conn.execute(statement, given)]


def named_moments(
    conn: Connection, label: Label, moments: Sequence[datetime], until: datetime
) -> list[Moment]:
    """Return the moments given, without those whose outcomes were not known at ``until``."""
    given = {"seconds": label.seconds, "moments": list(moments), "until": until}
    return [Moment(*row) for row in conn.execute(query("settled"), given)]


def frozen_contract(conn: Connection, source: Source, moments: Sequence[Moment]) -> Contract:
    """Return the contract of a new version: the most frequent categories at these moments."""
    top = [each for each in source.inputs if each.top is not None]
    return freeze(source.inputs, {each.name: _top(conn, source, each, moments) for each in top})


def design_columns(conn: Connection, contract: Contract) -> list[tuple[str, str]]:
    """Return name and SQL expression of each column of the design row, in order."""
    rows = conn.execute(query("columns"), (Jsonb(contract.to_json()),)).fetchall()
    if not rows:
        raise NotEnoughData(
            "no feature is left to learn from",
            detail="the past of every feature of the model is unknown",
            hint="name the features' history in the definition",
        )
    return [(name, expression) for name, expression in rows]


def read_examples(
    conn: Connection,
    source: Source,
    columns: Sequence[str],
    moment: Moment,
    until: datetime | None = None,
) -> Examples:
    """Read the examples of one moment, in order of the key.

    Customers whose outcome cannot be known are left out, and those treated before it was, unless
    those held out stand for them.

    Parameters
    ----------
    columns: SQL expressions of the design row, over the names of the inputs.
    moment: features are as of ``moment.at``; the label looks at what follows.
    until: outcomes are as they were known then; default: when they were settled.
    """
    shown = written(",\n".join(columns))
    if source.label is None:
        plain = {"moment": sql.Literal(moment.at), "as_of": as_of(source)}
        statement = query("examples_plain", columns=shown, **plain)
    else:
        parts = outcome_parts(source, moment, until) | _weigh_parts(source)
        statement = query("examples", columns=shown, **parts)
    data = _copy(conn, statement)
    records = np.frombuffer(
        data, _record(len(columns)), offset=_HEADER, count=_count(data, len(columns))
    )
    labels = typed(records["label"].astype(np.float64), source.target)
    design = records["design"]["value"].astype(np.float64)
    who = records["treated"].astype(bool), records["holdout"].astype(bool)
    return Examples(moment, design, labels, *who)


def _weigh_parts(source: Source) -> dict[str, sql.Composable]:
    return {
        "weigh": sql.Literal(source.held_out is not None),
        "held_out": sql.Literal(source.held_out or 0.0),
        "salt": sql.Literal(f"{source.profile} holdout"),
    }


def outcome_parts(
    source: Source, moment: Moment, until: datetime | None = None
) -> dict[str, sql.Composable]:
    """Return the parts of a query over the rows of a past moment and what came of them."""
    assert source.label is not None  # without a label nothing is asked of what followed
    return {
        "moment": sql.Literal(moment.at),
        "as_of": as_of(source),
        "outcomes": source.label.outcomes,
        "label": sql.Literal(source.label.name),
        "until": sql.Literal(until or moment.settled),
    }


def _top(conn: Connection, source: Source, each: Input, moments: Sequence[Moment]) -> list[str]:
    statement = query(
        "categories_of_lists" if each.kind == "list" else "categories",
        name=sql.Identifier(each.name),
        as_of=as_of(source),
        moments=sql.Literal([moment.at for moment in moments]),
        most=sql.Literal(each.top),
    )
    return [value for (value,) in conn.execute(statement)]


def as_of(source: Source) -> sql.Identifier:
    """Return the name of the profile's as-of function."""
    return sql.Identifier("rescore_compiled", f"{source.slug}__as_of")


def written(text: str) -> sql.SQL:
    """Return SQL written by the compiler, which has quoted what the user named."""
    return sql.SQL(text)


def _copy(conn: Connection, statement: sql.Composed) -> bytes:
    wrapped = sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(statement)
    with conn.cursor() as cursor, cursor.copy(wrapped) as copy:
        return b"".join(copy)


def _record(columns: int) -> np.dtype[Any]:
    """Return the layout of one row of COPY BINARY: an array without NULLs, a label, two flags.

    Design rows have no NULL by contract, so all rows have one length, and the whole answer is
    read without a loop in Python.
    """
    item = np.dtype([("length", ">i4"), ("value", ">f8")])
    design = ("design", item, (columns,))
    return np.dtype(
        [
            ("fields", ">i2"),
            ("bytes", ">i4"),
            ("array", ">i4", (5,)),
            design,
            ("length", ">i4"),
            ("label", ">f8"),
            ("length2", ">i4"),
            ("treated", "?"),
            ("length3", ">i4"),
            ("holdout", "?"),
        ]
    )


def _count(data: bytes, columns: int) -> int:
    rows, rest = divmod(len(data) - _HEADER - _TRAILER, _record(columns).itemsize)
    if rest or not data.startswith(_SIGNATURE):
        raise NotEnoughData(
            "the server's design rows are not complete",
            detail="a value is NULL where the contract says it is a number",
            hint="install the same version of rescore in the database and here",
        )
    return rows
