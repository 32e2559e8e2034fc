"""Learning as a periodic job of ``rescore run``."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event
from typing import Any

from rescore.errors import Busy, NoServer, RescoreError
from rescore.trainer.database import Connection, query, translated
from rescore.trainer.loop.drift import watch
from rescore.trainer.loop.learn import learn
from rescore.trainer.loop.triggers import due

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
    """

    every: float
    models: tuple[str, ...] = ()
    name: str = "learn"
    channel: str = "rescore_learn"

    def work(self, conn: Connection, stop: Event) -> dict[str, Any]:
        """Let each model that is due learn; say nothing when none is."""
        known = self.models or [name for (name,) in conn.execute(query("learn_models"))]
        looked = [self._one(conn, model, stop) for model in known if not stop.is_set()]
        done = [each for each in looked if each]
        failed = [f"{each['model']}: {each['error']}" for each in done if "error" in each]
        facts: dict[str, Any] = {"learnt": done} if done else {}
        return facts | {"error": "; ".join(failed)} if failed else facts

    def _one(self, conn: Connection, model: str, stop: Event) -> dict[str, Any]:
        try:
            with translated():
                why = due(conn, model)
                return _learnt(conn, model, why, stop) if why else {}
        except (NoServer, Busy) as error:
            if isinstance(error, NoServer):
                raise
            return {}  # somebody else learns it
        except RescoreError as error:
            return {"model": model, "error": error.message}


def _learnt(conn: Connection, model: str, why: str, stop: Event) -> dict[str, Any]:
    report = learn(conn, model, stop=stop)
    watch(conn, model)
    rounds = [
        {"action": each.action, "version": each.version, "examples": each.examples,
         "reasons": list(each.reasons)}
        for each in report.rounds
    ]  # fmt: skip
    return {"model": model, "why": why, "rounds": rounds, "seconds": round(report.seconds, 3)}
