"""Learning as a periodic job of ``rescore run``."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event

from rescore.errors import Busy
from rescore.trainer.database import Connection, one, query, translated
from rescore.trainer.failing import Patience
from rescore.trainer.loop.block import Position
from rescore.trainer.loop.drift import watch
from rescore.trainer.loop.learn import LearningReport, learn
from rescore.trainer.loop.looked import LastRound, Looked
from rescore.trainer.loop.triggers import due
from rescore.trainer.rounds import Facts, Round, failures

LOOK_SECONDS = 30.0
"""Between two looks at which models are due."""


@dataclass(frozen=True)
class Learning:
    """Looks which models are due, and lets these learn.

    Attributes
    ----------
    every: seconds between two looks.
    models: their names; none for all whose definition says that they learn.
    channel: what is notified here makes it look at once.
    looked: by model, what the last looks and the last round have found.
    """

    every: float
    models: tuple[str, ...] = ()
    name: str = "learn"
    channel: str = "rescore_learn"
    patience: Patience = field(default_factory=Patience, repr=False)
    looked: dict[str, Looked] = field(default_factory=dict, repr=False)

    def work(self, conn: Connection, stop: Event) -> Facts:
        """Let each model that is due learn; say nothing when none is."""
        answered = [told for (told,) in conn.execute(query("learn_undefined"))]
        known = self.models or [name for (name,) in conn.execute(query("learn_models"))]
        told = Round(conn, "model", self.patience, stop)
        looked = told.each(known, lambda model: self._one(conn, model, stop))
        done = [facts for facts in looked if len(facts) > 1]
        said: Facts = {"answered": "; ".join(answered)} if answered else {}
        return said | ({"learnt": done} if done else {}) | failures("model", done)

    def _one(self, conn: Connection, model: str, stop: Event) -> Facts:
        read_to = Position(one(conn, query("learn_bound")), 0)
        digest = one(conn, query("learn_digest"), (model,))
        looked = self.looked.setdefault(model, Looked())
        if looked.last and looked.last.digest != digest:
            looked.last = None
        why = due(conn, model, stop, looked=looked)
        if not why:
            return {}
        asked = one(conn, query("learn_requested"), (model,)) > 0
        try:
            with translated():
                report = learn(conn, model, asked=asked, stop=stop)
        except Busy:
            return {}  # somebody else learns it
        looked.forget()
        if report.rounds:
            last = report.rounds[-1]
            line = last.parent if last.stays else one(conn, query("learn_line"), (model,))
            looked.last = LastRound(line, read_to, digest, last.stays)
        if not stop.is_set():
            watch(conn, model, stop)
        return _told(why, report, asked=asked)


def _told(why: str, report: LearningReport, *, asked: bool) -> Facts:
    told = [done for done in report.rounds if asked or done.action != "nothing"]
    if report.rounds and not told:
        return {}
    rounds = [
        {"action": done.action, "version": done.version, "examples": done.examples,
         "reasons": list(done.reasons)}
        for done in told
    ]  # fmt: skip
    return {"why": why, "rounds": rounds, "seconds": round(report.seconds, 3)}
