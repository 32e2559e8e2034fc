"""``rescore learn``: what was resolved since the last round, tested, learnt, let through or not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from threading import Event
from typing import Any, cast

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from rescore.errors import Busy, NotFinite
from rescore.trainer.database import Connection, one, query, translated
from rescore.trainer.failing import Stopped, stoppable
from rescore.trainer.learning.intervals import told
from rescore.trainer.learning.threads import side_by_side
from rescore.trainer.loop.attempt import Attempt
from rescore.trainer.loop.reading import Reader
from rescore.trainer.loop.record import (
    Candidate,
    Outcome,
    leaves,
    record_nothing,
    record_version,
)
from rescore.trainer.loop.state import State, read_state

Progress = Callable[[int, int], None]
MOST = 10_000_000
"""Examples of a round, where the definition does not say: what who is killed must learn anew."""
MOST_BY_TIME = 4_000_000
"""The same where the newest are tested on: all that lies in that time is kept in memory."""
RETRY_SECONDS = 0.2
IDLE = ("nothing", "waiting")
_ACTIONS = {"pass": "published", "refuse": "refused"}


@dataclass(frozen=True)
class LearningReport:
    """What one call of :func:`learn` did.

    Attributes
    ----------
    rounds: in order, at least one unless it was stopped.
    seconds: from first query to last.
    """

    model: str
    rounds: tuple[Outcome, ...]
    seconds: float

    @property
    def refused(self) -> bool:
        """Whether the last candidate was refused by the gate."""
        made = [each.action for each in self.rounds if each.action not in IDLE]
        return bool(made) and made[-1] == "refused"

    @property
    def published(self) -> bool:
        """Whether another version serves now."""
        return any(each.action == "published" for each in self.rounds)

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values."""
        rounds = [each.to_json() for each in self.rounds]
        return {"model": self.model, "rounds": rounds, "seconds": round(self.seconds, 3)}


def learn(
    conn: Connection,
    model: str,
    *,
    max_batches: int | None = None,
    restart: bool = False,
    wait: bool = False,
    asked: bool = True,
    stop: Event | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> LearningReport:
    """Learn all there is to learn, round by round; each round ends in one transaction.

    Parameters
    ----------
    conn: in autocommit mode.
    max_batches: learn one round of no more than so many micro-batches.
    restart: leave what was learnt since the champion, and go on from it with what comes next.
    wait: for another session that learns this model.
    asked: somebody waits for an answer: also that there is nothing to learn is put on record.
    stop: once set, the round is given up at the next micro-batch, or where a statement is
        cancelled; the next call takes it up.
    progress: called with examples learnt so far, twice.
    say: called with the session that learns the model, if it is waited for, and then with "".

    Raises
    ------
    UnknownModel
    NotEnoughData: no version serves.
    Busy: another session learns the model; DETAIL says who.
    """
    started, stop = time.monotonic(), stop or Event()
    rounds: list[Outcome] = []
    with (
        translated(),
        held(conn, model, wait=wait, stop=stop, say=say),
        _one_thread(),
        suppress(Stopped),
        stoppable(stop),
    ):
        while not stop.is_set():
            first = not rounds
            given = {"restart": restart and first, "asked": asked and first}
            outcome = one_round(conn, model, max_batches, stop=stop, **given)
            if outcome.action not in IDLE or first:
                rounds.append(outcome)
            if progress:
                done = sum(each.examples for each in rounds)
                progress(done, done)
            if outcome.stays or max_batches is not None:
                break
    return LearningReport(model, tuple(rounds), time.monotonic() - started)


def _one_thread() -> AbstractContextManager[Any]:
    """Keep linear algebra from sharing out products this small: it costs more than it gains.

    And sums of parts would depend on the number of processors, and with them what is learnt.
    """
    return cast(AbstractContextManager[Any], threadpool_limits(limits=1, user_api="blas"))


@contextmanager
def held(
    conn: Connection,
    model: str,
    *,
    wait: bool,
    stop: Event,
    say: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Be the only one that learns a model; the lock goes with the connection.

    Parameters
    ----------
    say: see :func:`learn`.

    Raises
    ------
    Busy: another session has it, and ``wait`` is not set.
    """
    told = ""
    while not one(conn, query("learn_hold"), (model,)):
        if not wait or stop.wait(RETRY_SECONDS):
            raise _busy(conn, model)
        holder, *_ = conn.execute(query("learn_holder"), (model,)).fetchone() or (None,)
        if say and holder and holder != told:
            say(f"waits for {holder}")
            told = holder
    if say and told:
        say("")
    try:
        yield
    finally:
        if not conn.closed:
            one(conn, query("learn_free"), (model,))


def _busy(conn: Connection, model: str) -> Busy:
    found = conn.execute(query("learn_holder"), (model,)).fetchone()
    holder, client, pid = found or (None, None, None)
    hint = "Try again when it is done, or wait with --wait."
    if holder:
        by_hand = f"To end it: SELECT pg_terminate_backend({pid});"
        hint += f" To end it, stop {client}." if client else f" {by_hand}"
    return Busy(
        f'model "{model}" is being learnt by another session',
        detail=f"It is {holder or 'just ending'}.",
        hint=hint,
    )


def one_round(
    conn: Connection,
    model: str,
    max_batches: int | None = None,
    *,
    restart: bool = False,
    asked: bool = True,
    stop: Event | None = None,
) -> Outcome:
    """Do one round: read, learn, judge, record; see :func:`learn`.

    Parameters
    ----------
    asked: that there is nothing to learn is worth a row of the log.
    stop: see :func:`learn`.

    Raises
    ------
    Stopped: nothing was recorded.
    """
    state = read_state(conn, model, restart=restart)
    requests = one(conn, query("learn_requested"), (model,))
    attempt = Attempt(state, Reader.of(conn, state), stop)
    try:
        made = _tried(attempt, max_batches)
        if made is None:
            return _idle(conn, state, attempt, requests, asked=asked)
        why = _why(attempt, made, publish=state.terms.learn.publish)
        if why.action != "waiting":
            return record_version(conn, state, attempt, made, requests, why)
    except NotFinite as error:  # the definition must change: nothing is passed over
        why = Outcome("refused", (error.message,), state.line.number)
    return record_nothing(conn, state, requests, why)


def _tried(attempt: Attempt, max_batches: int | None) -> Candidate | None:
    """Learn until the gate can decide, or there is no more; None when nothing was learnt."""
    terms = attempt.state.terms.learn
    exactly = terms.examples is not None and max_batches is None
    size = terms.examples or (MOST_BY_TIME if terms.test_share is None else MOST)
    size = size if max_batches is None else min(size, max_batches * terms.batch)
    made = None
    while attempt.take(size, exactly=exactly):
        if attempt.learnt is None:
            continue
        artefact, memory = attempt.version()
        made = Candidate(artefact, memory, attempt.judge(artefact))
        if made.decision.verdict != "wait" or max_batches is not None:
            break
    return made


def _idle(
    conn: Connection, state: State, attempt: Attempt, requests: int, *, asked: bool
) -> Outcome:
    if attempt.suspects:
        kept = sorted(set(attempt.suspects.values()))
        count = len(attempt.suspects)
        why = Outcome("quarantined", tuple(kept[:5]), state.line.number, quarantined=count)
        return record_nothing(conn, state, requests, why, attempt)
    wanted = state.terms.learn.examples or state.terms.learn.batch
    found = len(attempt.reader.past(attempt.position, wanted))
    told = f"{found} new examples; a round needs {wanted}"
    if found >= wanted:
        told = f"{found} or more new examples, none settled before the newest, which are tested on"
    why = Outcome("nothing", (told,), state.line.number)
    return record_nothing(conn, state, requests, why) if asked else why


def _why(attempt: Attempt, made: Candidate, *, publish: bool) -> Outcome:
    learnt, decision, loop = attempt.learnt, made.decision, attempt.loop
    assert learnt is not None
    action = _ACTIONS.get(decision.verdict, "waiting")
    champion = attempt.state.champion.number
    tested, served = side_by_side([loop.tested.intervals, loop.served.intervals])
    left = (f"learning goes on from version {champion}",) if leaves(attempt.state, decision) else ()
    return Outcome(
        "candidate" if action == "published" and not publish else action,
        (*decision.reasons, *left),
        attempt.state.line.number,
        examples=learnt.examples,
        positives=learnt.positives,
        quarantined=len(attempt.suspects),
        metrics={
            "prequential": told(tested),
            "served": told(served),
            "gate": decision.to_json(),
        },
    )
