"""What ``rescore run`` says of each round, as one object or as a line for people."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rescore.trainer.rounds import Facts


def entry(what: str, **facts: Any) -> Facts:
    """Return what the log is to say of something."""
    return {"at": now(), "job": what, **facts}


def now() -> str:
    """Return the time of day, with its zone, as the log has it."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def line(facts: Facts, *, traces: bool = False) -> str:
    """Return what happened as one line for people.

    Parameters
    ----------
    traces: below it, where what nobody expected was raised.
    """
    hidden = ("at", "job", "profiles", "learnt", "models", "seconds", "trace")
    shown = {k: v for k, v in facts.items() if k not in hidden}
    shown |= {each["model"]: _of_model(each) for each in facts.get("learnt", [])}
    shown |= {each["model"]: _of_parts(each) for each in facts.get("models", [])}
    parts = [f"{k} {v:,}" if isinstance(v, int) else f"{k} {v}" for k, v in shown.items()]
    if "seconds" in facts:
        parts.append(f"{facts['seconds']:.1f} s")
    trace = f"\n{facts['trace'].rstrip()}" if traces and "trace" in facts else ""
    told = " ".join(", ".join(parts).split())  # an error may have lines
    return f"{facts['at']} {facts['job']}: {told}{trace}"


def _of_model(facts: Facts) -> str:
    rounds = facts.get("rounds", [])
    told = [_of_round(each) for each in rounds]
    ended = "failed" if "error" in facts else "stopped"
    return f"{', '.join(told) or ended} ({facts.get('why', 'see error')})"


def _of_round(facts: Facts) -> str:
    """Return what a round came to; where no version tells more, the first reason."""
    if facts["version"] is None and facts["reasons"]:
        return f"{facts['action']}: {facts['reasons'][0]}"
    return f"{facts['action']} {facts['version'] or ''}".strip()


def _of_parts(facts: Facts) -> str:
    told = ", ".join(f"{k} {v}" for k, v in facts.items() if k not in ("model", "trace", "error"))
    return told or "failed"
