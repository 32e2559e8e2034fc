"""The plan of a profile printed as SQL, from the templates. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rescore.compiler import outbox
from rescore.compiler.definers import guarded
from rescore.compiler.ensemble import Ensemble
from rescore.compiler.event_source import EventSource
from rescore.compiler.inputs import Input
from rescore.compiler.printing import printed as _print
from rescore.compiler.profile import Profile
from rescore.compiler.quoting import ident, literal, short
from rescore.compiler.replication import enabled_always
from rescore.compiler.scored import Model, Score
from rescore.compiler.single import changes, reading
from rescore.compiler.snapshots import logged_models, logging, sampled
from rescore.compiler.states import State, differs
from rescore.compiler.sweep import is_marked, serves, sweeping
from rescore.compiler.windows import MOMENT, interval

OPERATIONS = ("insert", "update", "delete", "truncate")
KEY_PATTERNS = {
    "bigint": r"^\s*[-+]?\d{1,19}\s*$",
    "uuid": r"^\s*\{?[0-9a-fA-F]{4}(-?[0-9a-fA-F]{4}){7}\}?\s*$",
}


def table(plan: Profile, missing: Sequence[tuple[str, str]], dropped: Sequence[str]) -> str:
    """SQL that creates the profile table or adds and drops columns; empty when all are there."""
    return _print("table.sql.j2", plan=plan, missing=missing, dropped=dropped)


def grants(plan: Profile, owner: str | None, readers: Sequence[str]) -> str:
    """SQL that gives a new profile table to its owner, and lets roles read it."""
    return _print("grants.sql.j2", plan=plan, owner=owner, readers=readers)


def functions(plan: Profile) -> str:
    """SQL of everything generated for a profile except its triggers."""
    printed = [
        _print("predict.sql.j2", plan=plan, row_score=_row_scores(plan)),
        _print("read.sql.j2", plan=plan, **_reading(plan)),
        _print("write.sql.j2", plan=plan, **_writing(plan)),
        _print("sweep.sql.j2", plan=plan, **sweeping(plan)),
        _print("profile_triggers.sql.j2", plan=plan, **_own(plan)),
        _print("come_back.sql.j2", plan=plan),
        *([_print("fold.sql.j2", plan=plan)] if plan.states else []),
        *(_by_key(plan, model) for model in plan.scorers),
        _print("forget.sql.j2", plan=plan),
        _print("staleness.sql.j2", plan=plan),
        *([_print("comments.sql.j2", plan=plan)] if any(s.about for s in plan.states) else []),
    ]
    for source in plan.sources:
        printed += [_event(plan, source, op) for op in OPERATIONS]
    for link in plan.links:
        linked = [s for s in plan.sources if s.link is link]
        if linked:
            given = _link(plan, linked)
            slug = short(f"link_{link.name}", 24)
            printed += [
                _print(
                    "links.sql.j2",
                    plan=plan,
                    link=link,
                    linked=linked,
                    op=op,
                    link_slug=slug,
                    **given,
                )
                for op in OPERATIONS
            ]
    if outbox.watched(plan):
        printed.append(_print("outbox.sql.j2", plan=plan, **_outbox(plan)))
    if plan.outcomes:
        printed.append(_print("outcomes.sql.j2", plan=plan, **_outcomes()))
    if logged_models(plan):
        printed.append(_print("snapshots.sql.j2", plan=plan, **logging(plan)))
    inner = [plan.function(part) for part in ("ensure", "score", "snapshot_keys")]
    return guarded("\n".join(printed), _guard, inner)


def _outcomes() -> dict[str, Any]:
    return {
        "firsts": {"event": "e.rescore_first", "row": "r.rescore_first"},
        "horizon": lambda outcome: interval(outcome.horizon),
    }


def _guard(name: str, body: str) -> str:
    return _print("guard.sql.j2", name=name, body=body)


def triggers(plan: Profile) -> str:
    """SQL that creates the triggers of a profile."""
    links = [
        (link, short(f"link_{link.name}", 24))
        for link in plan.links
        if any(s.link is link for s in plan.sources)
    ]
    printed = _print("triggers.sql.j2", plan=plan, links=links, operations=OPERATIONS)
    if outbox.watched(plan):
        printed += _print("outbox_triggers.sql.j2", plan=plan, **_outbox(plan))
    return printed + enabled_always(plan)


def _outbox(plan: Profile) -> dict[str, Any]:
    return {
        "o": outbox,
        "names": outbox.trigger_names(plan),
        "watched": outbox.watched(plan),
        "reported": outbox.reported(plan),
    }


def predict_key(models: Sequence[tuple[str, str, str]]) -> str:
    """SQL of the functions that score by key, given each model, its key type and its profile."""
    return _print("predict_key.sql.j2", models=models, key_patterns=KEY_PATTERNS)


def _by_key(plan: Profile, model: Model | Ensemble) -> str:
    return _print(
        "model_key.sql.j2",
        plan=plan,
        model=model,
        is_ensemble=isinstance(model, Ensemble),
        live=plan.call(model, lambda c: f"p.{ident(c)}", plan.clock_sql, "p"),
        due=_is_past(plan, "p", f"p.{ident(plan.key)}"),
        # Free of names and operators that a search_path would have to find.
        direct=plan.clock == "now" and not plan.queued,
        row_json=_json(
            model.inputs, lambda i: i.argument(lambda c: f"p.{ident(c)}", "rescore_v_clock")
        ),
        past_json=_json(model.inputs, lambda i: f"p.{ident(i.name)}"),
    )


def _json(inputs: Sequence[Input], value: Any) -> str:
    """SQL: the inputs as one jsonb object; a function takes 100 arguments, hence the pieces."""
    pairs = [f"{literal(i.name)}, {value(i)}" for i in inputs]
    pieces = [pairs[i : i + 45] for i in range(0, len(pairs), 45)]
    return " || ".join(f"jsonb_build_object({', '.join(p)})" for p in pieces) or "'{}'::jsonb"


def _row_scores(plan: Profile) -> dict[str, str]:
    def ref(column: str) -> str:
        return f"($2).{ident(column)}"

    return {m.name: plan.call(m, ref, plan.clock_sql, "($2)") for m in plan.scorers}


def _reading(plan: Profile) -> dict[str, Any]:
    timed = [s for s in plan.sources if s.time]
    alias = {s.name: f"s{n}" for n, s in enumerate(timed, 1)}
    histories = _histories(plan)
    counted = _recounted(plan.states)
    place = {s.column: n for n, s in enumerate(plan.states, 1)}
    at = {
        column: f"h{n}"
        for n, (_, states) in enumerate(histories, 1)
        for column in [states[0].column]
    }
    return {
        "source_alias": alias,
        "history_states": histories,
        "columns": [(i.name, i.type) for i in plan.inputs],
        "past_values": {i.name: _past_value(plan, i, alias, at) for i in plan.inputs},
        "past_only": _past_only(plan, at),
        "holds": _holding(plan),
        "live": _is_past(plan, "rescore_v_row", "rescore_v_key"),
        "live_states": _recounted(plan.states, row="rescore_v_row"),
        "opened": [_has_opening(s) for s in plan.sources if s.since],
        "live_derived": {
            d.column: d.expression(lambda c: f"rescore_v_row.{ident(c)}") for d in plan.derived
        },
        "expected_state": counted,
        "differs": lambda x, p, r: differs(x, p, r, lambda c: ident(f"p_{place[c]}")),
        "expected_derived": {d.column: plan.value(d.column, counted) for d in plan.derived},
        "expected_score": {
            s.column: plan.call(
                s.model, lambda c: _expected(plan, c, counted), f"p.{ident(s.at_column)}", "p"
            )
            for s in plan.scores
        },
        "checked_score": {
            s.column: f"(p.{ident(s.at_column)} IS NOT NULL AND p.{ident(s.version_column)}"
            f" IS NOT DISTINCT FROM {s.model.served(lambda c: f'p.{ident(c)}')})"
            for s in plan.scores
        },
    }


def _is_past(plan: Profile, row: str, key: str) -> str:
    """SQL condition: the row does not hold what events say now; empty: it always does."""
    return " OR ".join(c for c in (plan.due(row, MOMENT), plan.waits(key)) if c)


def _holding(plan: Profile) -> dict[str, str]:
    """SQL condition for each state and derived column: the stored value holds at the moment."""
    of_source = {s.name: _source_holds(s) for s in plan.sources}
    found = {s.column: of_source[source.name] for source in plan.sources for s in source.states}
    return found | {d.column: _all_hold(found[s] for s in d.states) for d in plan.derived}


def _source_holds(source: EventSource) -> str:
    """SQL condition where ``is_waiting`` is known: what is stored of the source holds."""
    waits = "NOT w.is_waiting" if source.queued else ""
    return " AND ".join(c for c in (source.holds("p", MOMENT), waits) if c) or "true"


def _all_hold(conditions: Iterable[str]) -> str:
    """SQL condition: all of these hold."""
    return " AND ".join(dict.fromkeys(c for c in conditions if c != "true")) or "true"


def _expected(plan: Profile, column: str, counted: dict[str, str]) -> str:
    """SQL: what a score should have seen; all that is known where the stored value is past."""
    value, holds = plan.value(column, counted), _holding(plan).get(column, "true")
    return (
        value if holds == "true" else f"CASE WHEN {holds} THEN {value} ELSE p.{ident(column)} END"
    )


def _histories(plan: Profile) -> list[tuple[EventSource, tuple[State, ...]]]:
    """The history tables of plain columns, each with the state that is its last value."""
    found: list[tuple[EventSource, tuple[State, ...]]] = []
    for column, source in plan.histories.items():
        ref, type_ = f"e.{ident(column)}", source.table.column(column, "profile.history").type
        collate = ' COLLATE "C"' if source.table.columns[column].category == "S" else ""
        state = State(column, type_, "last", ref, source.time, "", collate)
        found.append((source, (state,)))
    return found


def _past_value(plan: Profile, i: Input, alias: dict[str, str], at: dict[str, str]) -> str:
    if not plan.past.get(i.name):
        return f"NULL::{i.type}"
    kept = {s.column for s in plan.states} | {d.column for d in plan.derived}

    def ref(column: str) -> str:
        if column in kept:
            return _past_state(plan, column, alias)
        return f"{at.get(column, 'p')}.{ident(column)}"

    return f"({i.argument(ref, MOMENT)})::{i.type}"


def _past_state(plan: Profile, column: str, alias: dict[str, str]) -> str:
    states = {
        s.column: (alias[source.name], s)
        for source in plan.sources
        if source.time
        for s in source.counted
    }

    def ref(name: str) -> str:
        prefix, state = states[name]
        return state.opened(lambda c: f"{prefix}.{ident(c)}", "p")

    derived = next((d for d in plan.derived if d.column == column), None)
    return derived.expression(ref) if derived else ref(column)


def _past_only(plan: Profile, at: dict[str, str]) -> str:
    if plan.only is None or "only" in plan.unknown_past:
        return ""
    refs = [
        f"p.{ident(c)}" if plan.past[f"only:{c}"] == "static" else f"{at[c]}.{ident(c)}"
        for c, _ in plan.only.columns
    ]
    return f"{plan.function('only')}({', '.join(refs)})"


def _recounted(states: Sequence[State], alias: str = "r", row: str = "p") -> dict[str, str]:
    """Column → SQL of states whose new value comes from a recount joined from the left."""
    return {s.column: s.opened(lambda c: f"{alias}.{ident(c)}", row) for s in states}


def _has_opening(source: EventSource) -> str:
    """SQL condition: the customer had events before those that are looked at."""
    kept = [s for s in source.states if s.opens]
    there = (
        f"COALESCE(p.{ident(s.opening)}, {s.initial}) IS DISTINCT FROM {s.initial}" for s in kept
    )
    return " OR ".join(there) or "false"


def _writing(plan: Profile) -> dict[str, Any]:
    changed = _recounted(plan.states)
    return {
        "refs_p": lambda c: f"p.{ident(c)}",
        "recomputed": plan.counters(changed) + plan.scored(changed, "rescore_v_clock"),
        "recomputed_stale": plan.counters(changed) + plan.stale(),
        "is_wrong": " OR ".join(
            [*(_is_wrong(plan, s, changed) for s in plan.scores), *outbox.is_unkept(plan, "p")]
        ),
        "rescored": plan.scored({}, "rescore_v_clock"),
        "is_miscounted": plan.wrong(changed),
        "has_stale_mark": " OR ".join(is_marked(plan, s) for s in plan.scores),
    }


def _is_wrong(plan: Profile, score: Score, changed: dict[str, str]) -> str:
    """SQL: whether a compiled score is not what its version says of the row."""
    at = f"p.{ident(score.at_column)}"
    expected = score.model.call(lambda c: plan.value(c, changed), at)
    stored = f"p.{ident(score.column)}"
    right = f"abs({stored} - {expected}) <= 1e-9 * greatest(1, abs({stored}))"
    checked = (
        f"NOT {score.model.deferred} AND {at} IS NOT NULL"
        f" AND p.{ident(score.version_column)} IS NOT DISTINCT FROM {serves(plan, score)}"
    )
    return f"CASE WHEN {checked} THEN ({right}) IS NOT TRUE ELSE false END"


def _own(plan: Profile) -> dict[str, Any]:
    def new(column: str) -> str:
        return f"NEW.{ident(column)}"

    return {
        "new_states": _recounted(plan.states, row="NEW"),
        "new_derived": {d.column: d.expression(new) for d in plan.derived},
        "new_version": {s.column: s.model.served(new) for s in plan.scores},
        "new_score": {
            s.column: plan.call(s.model, new, "rescore_v_clock", "NEW") for s in plan.scores
        },
    }


def _event(plan: Profile, source: EventSource, op: str) -> str:
    signed = op != "insert"
    single = reading(plan, source) if _is_single(source, op) else None
    recounted = source.recounted if signed else source.refreshed
    merged = _merged(source.states, lambda c: f"d.{ident(c)}")
    changed = {**merged, **_recounted(recounted)}
    names = [s.column for s in source.states]
    emptied = _recounted(source.states)
    unkept = outbox.is_unkept(plan, "p")
    return _print(
        "events.sql.j2",
        plan=plan,
        source=source,
        op=op,
        single=single,
        recounted=recounted,
        merges=source.merges("p", "rescore_v_moment"),
        changes=changes(plan, source, single.given) if single else None,
        set_scored=plan.counters(changed) + plan.scored(changed, "rescore_v_clock"),
        set_stale=plan.counters(changed) + plan.stale(),
        truncated_stale=plan.counters(emptied) + plan.stale(),
        sampled=_sampling(plan, source, op),
        before=", ".join([*(f"p.{ident(c)}" for c in names), *("false" for _ in unkept)]),
        after=", ".join([*(changed[c] for c in names), *unkept]),
    )


def _sampling(plan: Profile, source: EventSource, op: str) -> dict[str, str]:
    """SQL of who is logged after an event of this table: one key, or which of several."""
    snapshots = plan.snapshots
    if snapshots is None or snapshots.on != source.name or op != "insert":
        return {}
    share = repr(snapshots.share)
    return {
        key: "true" if snapshots.share == 1 else sampled(key, "rescore_v_clock", share)
        for key in ("rescore_v_key", "s.k")
    }


def _is_single(source: EventSource, op: str) -> bool:
    return op == "insert" and source.link is None and bool(source.states)


def _merged(states: Sequence[State], new: Any) -> dict[str, str]:
    return {s.column: s.merge(lambda c: f"p.{ident(c)}", new) for s in states}


def _link(plan: Profile, linked: Sequence[EventSource]) -> dict[str, Any]:
    changed = {
        c: v for n, s in enumerate(linked, 1) for c, v in _recounted(s.states, f"r{n}").items()
    }
    return {
        "link_scored": plan.counters(changed) + plan.scored(changed, "rescore_v_clock"),
        "link_stale": plan.counters(changed) + plan.stale(),
    }
