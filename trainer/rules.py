"""Promotion, demotion and rollback by rule: what ``rescore run`` decides about versions.

A rule acts on the always-valid interval of the gain, so that looking daily is no cheating; after
one has acted, none acts for the cool-down.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event
from typing import Any

from psycopg.types.json import Jsonb

from rescore.errors import NotEnoughData
from rescore.trainer.compare import FEWEST_GROUPS, Comparison, Traffic, compare, traffic
from rescore.trainer.database import Connection, one, query, translated
from rescore.trainer.failing import Patience
from rescore.trainer.judged import Judged, read_judged
from rescore.trainer.rounds import Facts, Round, failures
from rescore.trainer.sweep import Terms, sweep


@dataclass(frozen=True)
class Switch:
    """What a rule wants done, and why.

    Attributes
    ----------
    action: ``challenge``, ``promote``, ``demote`` or ``rollback``.
    version: that challenges, is promoted, demoted or rolled back to.
    reason: a sentence for the history.
    found: what it was decided on; None for a challenge, which is how something is found.
    """

    action: str
    version: int
    reason: str
    found: Comparison | Judged | None


def decide(
    conn: Connection, state: Traffic, *, judged: bool = False, stop: Event | None = None
) -> Switch | None:
    """Return what the rules of a model want now; None while they want nothing.

    Parameters
    ----------
    judged: these versions have been compared since the last snapshot was resolved.
    stop: once set, nothing is decided.

    Raises
    ------
    Stopped: ``stop`` was set.
    """
    if state.champion is None or state.is_cooling():
        return None
    wanted = _judged_worse(conn, state)
    if wanted is None and not judged:
        wanted = _rollback(conn, state, stop) or _judge(conn, state, stop)
    return wanted or _challenge(conn, state)


def _rollback(conn: Connection, state: Traffic, stop: Event | None) -> Switch | None:
    """Compare the champion with the version that served before it."""
    margin, before = state.rules.rollback, state.predecessor
    if margin is None or before is None:
        return None
    found = _compared(conn, state, before, stop)
    if found is None or not found.sequential.low > margin:
        return None
    return Switch("rollback", before, _sentence(found, before, state.champion, margin), found)


def _judged_worse(conn: Connection, state: Traffic) -> Switch | None:
    """Look at what came of the champion's scores, beside those of the version it replaced."""
    margin = state.rules.judged
    found = None if margin is None else read_judged(conn, state)
    if margin is None or found is None or not found.worse_by(margin):
        return None
    return Switch("rollback", found.against, found.sentence(margin), found)


def _challenge(conn: Connection, state: Traffic) -> Switch | None:
    """Let the newest version that learning let through, and only recorded, challenge."""
    if state.rules.challenge is None or state.challenger is not None:
        return None
    version = one(conn, query("newest_candidate"), {"model": state.model})
    text = f"by rule: version {version} passed its gate, and is to prove itself"
    return Switch("challenge", version, text, None) if version else None


def _judge(conn: Connection, state: Traffic, stop: Event | None) -> Switch | None:
    """Compare the challenger with the champion."""
    rules, version = state.rules, state.challenger
    if version is None or (rules.promote is None and rules.demote is None):
        return None
    found = _compared(conn, state, version, stop)
    if found is None:
        return None
    if rules.promote is not None and found.sequential.low > rules.promote:
        text = _sentence(found, version, state.champion, rules.promote)
        return Switch("promote", version, text, found)
    if rules.demote is not None and found.sequential.high < -rules.demote:
        text = _sentence(found, version, state.champion, rules.demote)
        return Switch("demote", version, text, found)
    return None


def _compared(
    conn: Connection, state: Traffic, version: int, stop: Event | None
) -> Comparison | None:
    """Return the comparison with the champion, once there is enough to decide on."""
    try:
        found = compare(conn, state.model, version, state.champion, rules=state.rules, stop=stop)
    except NotEnoughData:
        return None
    # Of scores that are no probabilities; margins are in its unit.
    if found.metric != state.rules.metric:
        return None
    enough = found.customers >= state.rules.customers and found.sequential.groups >= FEWEST_GROUPS
    return found if enough and found.sequential.known else None


def _sentence(found: Comparison, version: int, champion: int | None, margin: float) -> str:
    gained = found.sequential
    better, least = ("better", gained.low) if gained.estimate > 0 else ("worse", -gained.high)
    how = "the same" if found.paired else "their own"
    return (
        f"by rule: {found.metric} of version {version} is {better} than version {champion}'s by "
        f"{abs(gained.estimate):.4g}, surely by {least:.4g}, more than {margin:g}; on {how} "
        f"{found.examples} snapshots, {found.customers} customers"
    )


def act(conn: Connection, state: Traffic, wanted: Switch) -> bool:
    """Do it, unless somebody else has let another version serve meanwhile; say whether it was."""
    given = {
        "model": state.model,
        "champion": state.champion,
        "action": wanted.action,
        "version": wanted.version,
        "share": state.rules.challenge,
        "reason": wanted.reason,
        "details": Jsonb(_details(state, wanted)),
    }
    with translated(), conn.transaction():
        conn.execute(query("publish_lock"))
        return one(conn, query("switch"), given) is not None


def _details(state: Traffic, wanted: Switch) -> Facts:
    found = wanted.found.to_json() if wanted.found else {}
    rule = "judged" if isinstance(wanted.found, Judged) else wanted.action
    return {"rule": rule, "clock": state.now.isoformat(), **found}


@dataclass(frozen=True)
class Judging:
    """A periodic job: lets the rules of each model decide, and sweeps where one has acted.

    Attributes
    ----------
    every: seconds.
    terms: of the sweep.
    judged: by model, what was compared last without anything to do.
    """

    every: float
    terms: Terms
    name: str = "rules"
    judged: dict[str, Any] = field(default_factory=dict, repr=False)
    patience: Patience = field(default_factory=Patience, repr=False)

    def work(self, conn: Connection, stop: Event) -> Facts:
        """Do one round; a model that fails does not keep the others from it."""
        models = [name for (name,) in conn.execute(query("ruled_models"))]
        ruled = Round(conn, "model", self.patience, stop)
        done = ruled.each(models, lambda name: self._one(conn, name, stop))
        switched = [f"{facts['model']}: {facts['reason']}" for facts in done if "reason" in facts]
        told: Facts = {"judged": len(models)}
        told |= {"switched": "; ".join(switched)} if switched else {}
        return told | failures("model", done)

    def _one(self, conn: Connection, model: str, stop: Event) -> Facts:
        state = traffic(conn, model)
        wanted = self._decide(conn, state, stop)
        if wanted is None or not act(conn, state, wanted):
            return {}
        sweep(conn, one(conn, query("profile_of"), (model,)), self.terms, wait=True, stop=stop)
        return {"action": wanted.action, "reason": wanted.reason}

    def _decide(self, conn: Connection, state: Traffic, stop: Event) -> Switch | None:
        """Compare versions only where a snapshot was resolved since they were compared last."""
        resolved = one(conn, query("last_resolved"), (state.model,))
        now = (state.champion, state.challenger, state.predecessor, state.rules, resolved)
        wanted = decide(conn, state, judged=self.judged.get(state.model) == now, stop=stop)
        if wanted is None and not state.is_cooling():
            self.judged[state.model] = now
        return wanted
