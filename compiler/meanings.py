"""Whether a column, or a label, still means what it meant to the versions of a model. Pure.

What a value is computed by can change with a version of rescore, at the ends of the calendar say,
and is then counted anew; to a model that changes nothing. What the definition says of it can
change, or the type of what it reads: then the model learnt something else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rescore.compiler.definition import Definition
from rescore.compiler.profile import Profile
from rescore.errors import RescoreError

_HOW = ("trigger", "mode", "index", "queue")
"""Of an event: how it is counted, not what."""


def new_meanings(
    profile: Profile,
    definition: Definition,
    stale: Sequence[str],
    old: dict[str, Any],
    tables: Sequence[dict[str, Any]],
) -> list[str]:
    """Say so where a column keeps its name but not its meaning, and a model reads it.

    Parameters
    ----------
    stale: columns that are recounted.
    old: what was applied before, as ``stored_row`` returns it.
    tables: what the profile depends on of each table now.
    """
    before = old["plan"].get("states", {})
    suspects = [c for c in stale if c in before]
    if suspects and not _types_changed(old["plan"].get("tables", []), tables):
        kept = _kept(definition, old["definition"])
        suspects = [c for c in suspects if c not in kept]
    return [
        f"{c} now means something else: train model {m.name} anew, its versions learnt the old one"
        for c in suspects
        for m in profile.models
        if any(i.column == c for i in m.inputs)
    ]


def rescored_by(
    definition: Definition, stored: dict[str, Any] | None, columns: Collection[str]
) -> list[str]:
    """Return the scores that another model gives now, or others of an ensemble.

    What the earlier one wrote is not told by its version: each model counts its own from 1.

    Parameters
    ----------
    stored: the definition that was applied before; None for none.
    columns: what rescore kept in the profile table before.
    """
    before, now = (stored or {}).get("scores") or {}, definition.to_json()["scores"]
    return [
        c
        for c in sorted(now)
        if c in columns and _differ(before.get(c, {}), now[c], ("model", "ensemble"))
    ]


def models_left(definition: Definition, stored: dict[str, Any] | None) -> list[str]:
    """Say of each model that is no longer defined what becomes of it.

    Parameters
    ----------
    stored: the definition that was applied before; None for none.
    """
    before = (stored or {}).get("models") or {}
    return [
        f"model {m} is no longer defined: its versions and snapshots stay, nothing scores, logs or "
        "learns by it"
        for m in sorted(set(before) - set(definition.models))
    ]


def new_terms(
    definition: Definition, stored: dict[str, Any] | None, serving: Collection[str]
) -> list[str]:
    """Say of models that serve what a changed definition does not change of what they have learnt.

    Parameters
    ----------
    serving: names of models.
    stored: the definition that was applied before; None for none.
    """
    was, now = stored or {}, definition.to_json()
    known = [m for m in definition.models if m in serving and m in was.get("models", {})]
    both = {m: (was["models"][m], now["models"][m]) for m in known}
    notes = [
        f"model {m} learns on with the estimator and scaler that its champion has: those of the "
        f"definition come with `rescore train {m} --publish`"
        for m, (before, after) in both.items()
        if after.get("learn") and _differ(before, after, ("estimator", "scaler"))
    ]
    labels = was.get("labels", {}), now["labels"]
    return notes + [
        f"label {after['label']} now means something else: open snapshots resolve by it; train "
        f"model {m} anew, its versions learnt the old one"
        for m, (before, after) in both.items()
        if before.get("label") == after.get("label") and _differ(*labels, [after.get("label")])
    ]


def _differ(before: Mapping[str, Any], after: Mapping[str, Any], keys: Sequence[Any]) -> bool:
    return any(before.get(key) != after.get(key) for key in keys)


def _kept(definition: Definition, stored: dict[str, Any] | None) -> set[str]:
    """Return the features that are defined as they were; none where that cannot be told."""
    try:
        before = Definition.from_json(stored or {})
    except RescoreError:
        return set()
    ways = [_facts(each) for each in (before, definition)]
    if any(ways[0][part] != ways[1][part] for part in ("profile", "links")):
        return set()
    return {name for name in definition.features if _same(name, *ways)}


def _same(name: str, before: dict[str, Any], now: dict[str, Any]) -> bool:
    feature = now["features"][name]
    if feature != before["features"].get(name):
        return False
    source = feature.get("from")
    if source is None:  # of other features
        return bool(before["features"] == now["features"] and before["events"] == now["events"])
    return bool(before["events"].get(source) == now["events"].get(source))


def _facts(definition: Definition) -> dict[str, Any]:
    made = definition.to_json()
    named = ("table", "key", "timezone", "clock")
    events = {
        name: {k: v for k, v in event.items() if k not in _HOW}
        for name, event in made["events"].items()
    }
    profile = {key: made["profile"].get(key) for key in named}
    whole = {part: made[part] for part in ("links", "features")}
    return {**whole, "profile": profile, "events": events}


def _types_changed(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> bool:
    """Whether a column that is read is of another type; an older version did not note them."""
    known = {(t["schema"], t["name"]): (t.get("shape") or {}).get("columns", {}) for t in old}
    return any(
        kind != known.get((t["schema"], t["name"]), {}).get(column, kind)
        for t in new
        for column, kind in ((t.get("shape") or {}).get("columns", {})).items()
    )
