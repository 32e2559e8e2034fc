"""What drift is told against: the distributions of the columns a version was made for.

A version that learnt here keeps those of its examples. Of one from a file nobody knows what it
learnt; it gets those of the newest snapshots, which is what it was published for.
"""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb

from rescore.plpython.contract import Contract
from rescore.plpython.prediction import score
from rescore.trainer.database import Connection, one, query
from rescore.trainer.learning.drift import Reference, reference
from rescore.trainer.learning.hashing import distinct
from rescore.trainer.loop.reading import EVER, Reader
from rescore.trainer.loop.state import like_columns

FEWEST_TO_REFER, MOST_TO_REFER = 2_000, 20_000
SCORE, LABEL = "score", "label"


def refer(names: list[str], design: Any, artefact: Any, labels: Any = None) -> dict[str, Any]:
    """Return the distributions of a training sample's columns, and of its scores, as JSON.

    Parameters
    ----------
    labels: shape (n,), whose distribution is kept too; None for segments, which have none.
    """
    made = reference(names, design)
    if labels is not None and LABEL not in made:
        made = {**made, **reference([LABEL], labels[:, None])}
    scores = {} if SCORE in made else reference([SCORE], score(artefact, design)[:, None])
    return {"reference": to_json({**made, **scores})}


def to_json(kept: Reference) -> dict[str, Any]:
    """Return distributions as JSON-able values."""
    return {name: counts.to_json() for name, counts in kept.items()}


def refer_to_snapshots(
    conn: Connection, model: str, version: int, contract: Contract, artefact: Any
) -> bool:
    """Keep the newest snapshots' distributions with a version that has none; say whether it was.

    Nothing is kept while there are fewer than `FEWEST_TO_REFER`, or where the role may not.
    """
    if not one(conn, query("may_refer")):
        return False
    names = contract.columns()
    reader = Reader(
        conn,
        model,
        like_columns(conn, model, contract),
        len(names),
        0,
        EVER,
        False,
        None,
    )
    block = reader.recent(MOST_TO_REFER, resolved=False)
    if len(block) < FEWEST_TO_REFER:
        return False
    kept = refer(names, block.design, artefact)
    customers = distinct(block.hashes)
    lineage = {"examples": 0, "positives": 0, "memory": {}, "customers": customers, **kept}
    conn.execute(query("lineage"), (model, version, Jsonb(lineage)))
    return True
