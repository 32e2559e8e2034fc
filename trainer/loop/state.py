"""Where the learning of a model stands, and which version it goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from rescore.errors import NotEnoughData
from rescore.plpython import artifact
from rescore.plpython.contract import Contract
from rescore.trainer.database import Connection, query
from rescore.trainer.learning.drift import ColumnCounts, Reference
from rescore.trainer.learning.method import Memory
from rescore.trainer.loop.block import START, Position
from rescore.trainer.loop.terms import Terms
from rescore.trainer.usage import unknown_model


@dataclass(frozen=True)
class Version:
    """A version, as learning needs it.

    Attributes
    ----------
    estimator: what its artefact holds.
    memory: what it says learning on must know; empty when nobody said.
    reference: distribution of the columns it was trained on, by name; None when nobody kept it.
    customers: different customers in that reference.
    trained: whether `rescore train` made it, from past moments.
    known: whether a round has gone on from it, or made it.
    """

    number: int
    estimator: Any = field(repr=False)
    contract: Contract = field(repr=False)
    created_at: datetime
    memory: Mapping[str, Any]
    reference: Reference | None = field(repr=False)
    customers: int
    metrics: Mapping[str, Any] = field(repr=False)
    trained: bool
    known: bool


@dataclass(frozen=True)
class Standing:
    """What learning remembers beside a version: see `to_json`.

    Attributes
    ----------
    memory: of the learner.
    after: no example taken at this moment or earlier is learnt; None for all.
    known: no example taken earlier is tested on, since its outcome may have been learnt.
    latest: the newest moment learnt, in seconds since 1970; None before the first.
    share: the largest share of customers that is certainly unlearnt; None where all are learnt.
    """

    memory: Memory = field(default_factory=Memory)
    after: datetime | None = None
    known: datetime | None = None
    latest: float | None = None
    share: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values."""
        times = {"after": self.after, "known": self.known}
        told = {name: value.isoformat() if value else None for name, value in times.items()}
        return {**self.memory.to_json(), **told, "latest": self.latest, "share": self.share}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Standing:
        """Return what was kept in JSON; of nothing, that of a version nobody knows."""
        times = {n: datetime.fromisoformat(data[n]) for n in ("after", "known") if data.get(n)}
        memory = Memory.from_json({"examples": 0.0, "positives": 0.0, **data})
        latest = data.get("latest")
        if latest is None and "after" in times:  # what was trained on moments ages from the last
            latest = times["after"].timestamp()
        return cls(memory, **times, latest=latest, share=data.get("share"))


@dataclass(frozen=True)
class State:
    """Where a round begins.

    Attributes
    ----------
    champion: the version that serves.
    line: the version that learning goes on from: the champion, or what was made of it since.
    watermark: as the database has it.
    position: after which examples are read: the watermark, or the start for a new line.
    standing: what learning remembers.
    fallback: what it would remember if it went on from the champion.
    written: the transaction that last wrote where it stands; None where none has.
    """

    model: str
    profile: str
    terms: Terms
    champion: Version
    line: Version
    watermark: Position
    position: Position
    standing: Standing
    fallback: Standing
    written: str | None


def read_state(conn: Connection, model: str, *, restart: bool = False) -> State:
    """Read where the learning of a model stands.

    Learning goes on where it was, unless another version was let serve since: then a new line
    begins from that one.

    Parameters
    ----------
    restart: begin a new line from the champion all the same.

    Raises
    ------
    UnknownModel
    NotEnoughData: no version serves.
    """
    row = conn.execute(query("learn_state"), (model,)).fetchone()
    if row is None:
        raise unknown_model(conn, model)
    profile, clock, spec, champion, xid, number, line, served, memory, *more = row
    amount, treated, written = more
    if champion is None:
        raise NotEnoughData(
            f'no version of model "{model}" serves: there is nothing to learn on from',
            detail="Snapshots are taken of what is served.",
            hint=f"run `rescore train {model} --publish` first",
        )
    serving, watermark = read_version(conn, model, champion), Position(xid, number)
    goes_on = not restart and served is not None and champion in (served, line)
    version, (fallback, position) = serving, _new_line(serving, watermark, clock)
    standing = fallback
    if goes_on:
        number = champion if line is None else line
        version = serving if number == champion else read_version(conn, model, number)
        standing, position = Standing.from_json(memory), watermark
    terms = Terms.of(spec, number=amount, interventions=treated)
    standing = _testing(standing, terms)
    return State(
        model, profile, terms, serving, version, watermark, position, standing, fallback, written
    )


def _new_line(champion: Version, watermark: Position, clock: str) -> tuple[Standing, Position]:
    """Return what is known of a version that learning begins from, and where it begins.

    Of one from `rescore train`, which knows moments and no snapshots, all snapshots taken after
    its last moment. Of any other, what is resolved from now on: after a rollback, what had been
    learnt since is not learnt again.
    """
    standing = Standing.from_json(champion.memory)
    if not champion.memory and clock == "now":
        standing = replace(standing, known=champion.created_at)
    return standing, START if champion.trained and not champion.known else watermark


def _testing(standing: Standing, terms: Terms) -> Standing:
    """Where more customers are to be tested on than were left out, test what is new of them."""
    share = terms.learn.test_share
    if standing.share is None or (share is not None and share <= standing.share):
        return standing if share is None else replace(standing, share=share)
    latest = standing.latest
    moment = standing.known if latest is None else _later(standing.known, latest)
    return replace(standing, share=share, known=moment)


def _later(one: datetime | None, seconds: float) -> datetime:
    other = datetime.fromtimestamp(seconds, timezone.utc)
    return other if one is None or other > one else one


def read_version(conn: Connection, model: str, number: int) -> Version:
    """Read a version and what is known of its training."""
    row = conn.execute(query("learn_version"), (model, number)).fetchone()
    assert row is not None  # versions that serve, or that were learnt, are not deleted
    data, form, contract, created_at, memory, reference, customers, metrics, trained, known = row
    return Version(
        number,
        artifact.load(data, form),
        Contract.from_json(contract),
        created_at,
        memory or {},
        read_reference(reference),
        customers or 0,
        metrics,
        trained,
        known,
    )


def read_reference(kept: Mapping[str, Any] | None) -> Reference | None:
    """Return the distributions kept with a version."""
    if not kept:
        return None
    return {name: ColumnCounts.from_json(each) for name, each in kept.items()}


def like_columns(conn: Connection, model: str, contract: Contract) -> list[int]:
    """Return the versions whose design rows have the same columns, in the same order."""
    columns = contract.columns()
    rows = conn.execute(query("learn_contracts"), (model,))
    return [number for number, each in rows if Contract.from_json(each).columns() == columns]
