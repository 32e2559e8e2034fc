"""How a round ends: version, watermark, memory, lineage and the log, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg.types.json import Jsonb

from rescore.trainer.database import Connection, one, query
from rescore.trainer.learning.drift import Reference
from rescore.trainer.learning.gate import Decision
from rescore.trainer.learning.hashing import distinct
from rescore.trainer.learning.method import Memory
from rescore.trainer.loop.attempt import Attempt, moment
from rescore.trainer.loop.block import Position
from rescore.trainer.loop.kept import Learnt
from rescore.trainer.loop.reference import FEWEST_TO_REFER, refer, to_json
from rescore.trainer.loop.state import Standing, State
from rescore.trainer.publish import publish


@dataclass(frozen=True)
class Outcome:
    """How a round ended.

    Attributes
    ----------
    action: ``published``; ``candidate``, when it passed and is only recorded; ``refused``, when it
        is recorded and did not pass; ``waiting`` for more examples to test on; ``nothing`` to
        learn; ``quarantined``, when nothing was left to learn.
    reasons: why, as sentences.
    version: what was made.
    parent: what learning went on from.
    examples, positives: learnt.
    quarantined: snapshots kept out in this round.
    skipped: snapshots that are no examples, by reason.
    metrics: measured before learning (``prequential``, ``served``) and on what nobody learnt
        (``gate``), each with its interval.
    """

    action: str
    reasons: tuple[str, ...]
    parent: int
    version: int | None = None
    examples: int = 0
    positives: int = 0
    quarantined: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def stays(self) -> bool:
        """Whether the watermark is where it was: the next round would begin with the same."""
        return self.version is None and self.action != "quarantined"

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return {**vars(self), "reasons": list(self.reasons)}


@dataclass(frozen=True)
class Candidate:
    """What a round made, and what the gate said of it."""

    artefact: Any = field(repr=False)
    memory: Memory
    decision: Decision


def record_nothing(
    conn: Connection, state: State, requests: int, why: Outcome, attempt: Attempt | None = None
) -> Outcome:
    """Log a round that made no version.

    Parameters
    ----------
    requests: id of the last request that this answers.
    attempt: kept everything out; it goes on past it. None: the watermark stays, or is set to
        where a new line begins.
    """
    line = None if state.line.number == state.champion.number else state.line.number
    told = {"line": line, "memory": state.standing.to_json(), "requests": requests}
    kept = {"suspects": _suspects(attempt)} if attempt else {}
    with conn.transaction():
        _lock(conn, state)
        end = attempt.position if attempt else state.position
        _record(conn, state, end, {**told, **kept, **_of(why)})
    return why


def record_version(
    conn: Connection, state: State, attempt: Attempt, made: Candidate, requests: int, why: Outcome
) -> Outcome:
    """Publish or record a candidate, with all that goes with it, or nothing of it.

    Raises
    ------
    Busy: the model changed while it was learnt.
    As `rescore.publish` does.
    """
    learnt, standing = attempt.learnt, _standing(state, attempt, made.memory)
    assert learnt is not None
    skipped = attempt.reader.skipped(state.position, attempt.position, whole=attempt.whole)
    if attempt.spoken_for:
        skipped["spoken for by the holdout"] = attempt.spoken_for
    period = {name: at.isoformat() for name, at in _period(learnt).items()}
    lineage = _lineage(state, made.artefact, learnt, standing, attempt.position) | period
    with conn.transaction():
        _lock(conn, state)
        version = publish(
            made.artefact,
            model=state.model,
            conn=conn,
            contract=state.line.contract,
            metrics=_metrics(why),
            parent=state.line.number,
            candidate=why.action != "published",
            reason=_reason(why),
            lineage=lineage,
        )
        done = replace(why, version=version, skipped=skipped)
        left = leaves(state, made.decision)
        goes_on, kept = (None, state.fallback) if left else (version, standing)
        told = {"line": goes_on, "memory": kept.to_json(), "suspects": _suspects(attempt)}
        told["requests"] = requests
        _record(conn, state, attempt.position, {**told, **period, **_of(done)})
    return done


def leaves(state: State, decision: Decision) -> bool:
    """Whether learning leaves a refused candidate, and goes on from the champion again."""
    rule = state.terms.learn.after_refusal
    return decision.verdict == "refuse" and (
        rule == "champion" or (rule == "auto" and decision.surely_worse)
    )


def _reason(why: Outcome) -> str:
    """Return what the deployment history says: all that is wrong, or how the two compare."""
    checks = why.metrics["gate"]["checks"]
    compared = [check["text"] for check in checks if check["name"] == "comparison"]
    told = why.reasons if why.action == "refused" else compared
    return f"learnt {why.examples} examples: {'; '.join(told)}"


def _lock(conn: Connection, state: State) -> None:
    given = {"model": state.model, **state.watermark._asdict()}
    given |= {"champion": state.champion.number, "written": state.written}
    conn.execute(query("learn_lock"), given)


def _record(conn: Connection, state: State, end: Position, told: Mapping[str, Any]) -> None:
    begin = state.position
    places = {"from_xid": begin.xid, "from_id": begin.id, "to_xid": end.xid, "to_id": end.id}
    one(conn, query("learn_record"), (state.model, Jsonb({**places, **told})))


def _of(why: Outcome) -> dict[str, Any]:
    kept = why.to_json()
    del kept["quarantined"]
    return kept


def _suspects(attempt: Attempt) -> list[dict[str, Any]]:
    return [{"id": number, "reason": why} for number, why in attempt.suspects.items()]


def _standing(state: State, attempt: Attempt, memory: Memory) -> Standing:
    return replace(state.standing, memory=memory, latest=attempt.latest)


def _period(learnt: Learnt) -> dict[str, Any]:
    return {"began": moment(learnt.began), "ended": moment(learnt.ended)}


def _metrics(why: Outcome) -> dict[str, Any]:
    """What is kept beside the version: what the gate measured by name, and all with intervals."""
    candidate = why.metrics["gate"]["candidate"]
    plain = {name: interval["estimate"] for name, interval in candidate.items()}
    return {**plain, "examples": why.examples, **why.metrics}


def _lineage(
    state: State, artefact: Any, learnt: Learnt, standing: Standing, end: Position
) -> dict[str, Any]:
    kept = _reference(state, artefact, learnt)
    return {
        "examples": learnt.examples,
        "positives": learnt.positives,
        "known_until": moment(learnt.known).isoformat(),
        "watermark_xid": end.xid,
        "watermark_id": end.id,
        "memory": standing.to_json(),
        **kept,
    }


def _reference(state: State, artefact: Any, learnt: Learnt) -> dict[str, Any]:
    """Return the distributions to keep: of the newest learnt, or where few the parent's."""
    line = state.line
    if line.reference is not None and learnt.examples < FEWEST_TO_REFER:
        kept: Reference = line.reference
        return {"reference": to_json(kept), "customers": line.customers}
    newest = learnt.newest.block
    labels = None if state.terms.target == "segments" else newest.labels
    return refer(line.contract.columns(), newest.design, artefact, labels) | {
        "customers": distinct(newest.hashes)
    }
