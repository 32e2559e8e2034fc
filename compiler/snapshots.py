"""What a snapshot logs of a profile row for each model, as SQL. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from rescore.compiler.definition_learn import SEGMENTS
from rescore.compiler.profile import Profile
from rescore.compiler.quoting import ident
from rescore.compiler.scored import Model
from rescore.compiler.windows import interval

MOMENT = "rescore_v_moment"
SHARES = 2**52


@dataclass(frozen=True)
class Logged:
    """A model whose scores are logged; all but its name is SQL over the row ``p``.

    Attributes
    ----------
    score, version, serving, others, design: what was given, by which version, in which role;
        what other versions would have given (jsonb), and the design row.
    due: when the outcome is settled.
    resolved, resolved_at: the transaction and the moment, where there is no outcome to wait for.
    """

    model: Model
    score: str
    version: str
    serving: str
    others: str
    design: str
    due: str
    resolved: str
    resolved_at: str


def logging(plan: Profile) -> dict[str, Any]:
    """Return what the template ``snapshots.sql.j2`` is given besides the plan."""
    return {
        "logged": [_logged(plan, model) for model in logged_models(plan)],
        "holdout": f"p.{ident(plan.treatment.column)}" if plan.treatment else "NULL",
        "due": plan.due("p", "rescore_v_now"),
        "sampled": lambda key, moment, share: sampled(key, moment, share),
        "seed": seed(MOMENT),
    }


def logged_models(plan: Profile) -> list[Model]:
    """Models that have a label, or segments, which learn without one."""
    return [m for m in plan.models if m.spec.get("label") or SEGMENTS in m.spec["estimator"]]


def sampled(key: str, moment: str, share: str) -> str:
    """SQL: whether a customer is of the share logged at a moment; another share at each."""
    hashed = f"hashtextextended({key}::text, {seed(moment)})"
    return f"(({hashed} & {SHARES - 1})::double precision / {SHARES} < {share})"


def seed(moment: str) -> str:
    """SQL: what customers are hashed with at a moment."""
    return f"(extract(epoch FROM {moment}) * 1000000)::bigint"


def _logged(plan: Profile, model: Model) -> Logged:
    label = model.spec.get("label")
    horizon = next((o.horizon for o in plan.outcomes if o.name == label), timedelta())
    return Logged(
        model=model,
        score=model.call(_ref, MOMENT),
        version=model.served(_ref),
        serving=f"CASE WHEN {model.challenged(_ref)} THEN 'challenger' ELSE 'champion' END",
        others=model.others(_ref, MOMENT),
        design=model.served_row(_ref, MOMENT),
        due=f"{MOMENT} + {interval(horizon)}",
        resolved="NULL" if label else "pg_current_xact_id()",
        resolved_at="NULL" if label else MOMENT,
    )


def _ref(column: str) -> str:
    return f"p.{ident(column)}"
