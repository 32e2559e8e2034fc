"""What the command line does besides training: one function per command, rows as dictionaries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from rescore.errors import UnknownProfile
from rescore.trainer.database import Connection, one, query, translated
from rescore.trainer.fold import Folded
from rescore.trainer.fold import fold as fold_profile
from rescore.trainer.snapshots import BATCH, Logged
from rescore.trainer.snapshots import log as log_profile
from rescore.trainer.sweep import Progress, Swept, Terms
from rescore.trainer.sweep import sweep as sweep_profile
from rescore.trainer.usage import WrongUsage, check_interval, check_model, unknown_profile

Rows = list[dict[str, Any]]


def promote(conn: Connection, model: str, version: int, reason: str | None = None) -> int:
    """Let a recorded version serve; return its number."""
    with translated():
        one(conn, query("promote"), (model, version, reason))
    return version


def rollback(
    conn: Connection, model: str, version: int | None = None, reason: str | None = None
) -> int:
    """Let an earlier version serve, by default the one before; return its number."""
    with translated():
        serving: int = one(conn, query("rollback"), (model, version, reason))
    return serving


def challenge(
    conn: Connection, model: str, version: int, share: float, reason: str | None = None
) -> None:
    """Let a recorded version serve a share of the customers, above 0 and below 1."""
    with translated():
        one(conn, query("challenge"), (model, version, share, reason))


def shadow(conn: Connection, model: str, version: int, reason: str | None = None) -> None:
    """Let a recorded version score beside the champion, in snapshots."""
    with translated():
        one(conn, query("shadow"), (model, version, reason))


def demote(conn: Connection, model: str, version: int, reason: str | None = None) -> None:
    """End a challenge or a shadow."""
    with translated():
        one(conn, query("demote"), (model, version, reason))


def sweep(
    conn: Connection,
    profile: str,
    max_age: str | None = None,
    batch: int | None = None,
    *,
    rate: float | None = None,
    tolerance: float = 0.0,
    jobs: int = 1,
    restart: bool = False,
    wait: bool = False,
    progress: Progress | None = None,
) -> Swept:
    """Bring the scores of a profile to the present: see :func:`rescore.trainer.sweep.sweep`.

    Parameters
    ----------
    conn: in autocommit mode: each batch is a transaction.
    max_age: interval; None for all scores.
    batch: most rows of a transaction.
    rate: most rows written a second.
    tolerance: a score that the clock has moved by no more than this is left alone.
    jobs: sessions that sweep, each a part of the keys.
    restart: begin anew where a sweep was cut short.
    wait: for another session that sweeps this profile.
    """
    terms = Terms(max_age, batch, rate, tolerance)
    with _known(conn, profile):
        if max_age is not None:
            check_interval(conn, max_age, "--max-age")
        return sweep_profile(
            conn, profile, terms, jobs=jobs, restart=restart, wait=wait, progress=progress
        )


def profile_of(conn: Connection, model: str) -> str:
    """Return the profile whose rows a model scores."""
    with translated():
        return str(one(conn, query("profile_of"), (model,)))


def sweep_model(conn: Connection, profile: str, progress: Progress | None = None) -> Swept:
    """Rescore the rows of a model's profile that another version scored, silent ones too.

    Parameters
    ----------
    conn: in autocommit mode, as for :func:`sweep`.
    """
    return sweep(conn, profile, max_age="100 years", wait=True, progress=progress)


def fold(conn: Connection, profile: str, batch: int, progress: Progress | None = None) -> Folded:
    """Count what waits in the queue of a profile: see :func:`rescore.trainer.fold.fold`."""
    with _known(conn, profile):
        return fold_profile(conn, profile, batch=batch, progress=progress)


def log(
    conn: Connection,
    profile: str,
    batch: int | None = None,
    progress: Progress | None = None,
) -> Logged:
    """Log the scores of a profile and resolve what is due: see :mod:`rescore.trainer.snapshots`.

    Parameters
    ----------
    conn: in autocommit mode: each batch is a transaction.
    batch: most rows of a transaction.
    """
    with _known(conn, profile):
        return log_profile(conn, profile, batch=batch or BATCH, progress=progress)


def verify(conn: Connection, profile: str) -> Rows:
    """Return every stored value that differs from a recount of the events."""
    with _known(conn, profile):
        return _fetched(conn, "verify", profile)


def rebuild(conn: Connection, profile: str) -> int:
    """Recompute the profile from its events; return how many rows changed."""
    with _known(conn, profile):
        changed: int = one(conn, query("rebuild"), (profile,))
    return changed


def forget(conn: Connection, profile: str, key: str) -> Rows:
    """Remove what rescore holds of a person; return what was removed, and what is not rescore's.

    Returns
    -------
    One row per place: ``place``, rows ``removed``, rows ``remaining``.

    Raises
    ------
    UnknownProfile, BadKey, NotAllowed
    """
    with _known(conn, profile):
        return _fetched(conn, "forget", profile, key)


def remember(conn: Connection, profile: str, key: str) -> bool:
    """Lift the tombstone of a key; return whether it had one."""
    with _known(conn, profile):
        lifted: bool = one(conn, query("remember"), (profile, key))
    return lifted


def verify_model(conn: Connection, model: str) -> float | None:
    """Return the largest difference between compiled scorer and artefact over the live rows."""
    with translated():
        largest: float | None = one(conn, query("verify_model"), (model,))
    return largest


def models(conn: Connection) -> Rows:
    """Return every version of every model, newest first."""
    return _rows(conn, "models")


def left_behind(conn: Connection, model: str) -> Rows:
    """Return what a model that is no longer defined has left: ``place``, ``amount``, ``bytes``.

    Raises
    ------
    UnknownModel
    WrongArgument: it is still defined.
    """
    with translated():
        return _fetched(conn, "left_behind", model)


def drop_model(conn: Connection, model: str, reason: str | None = None) -> Rows:
    """Delete what a model that is no longer defined has left; return the same of it."""
    with translated():
        return _fetched(conn, "drop_model", model, reason)


def status(conn: Connection) -> Rows:
    """Return one row per deployed model: what serves, since when, and open incidents."""
    return _rows(conn, "status")


def checks(conn: Connection) -> Rows:
    """Return `check`, `status` and `detail` of the runner, and of learning where it is not well.

    As ``rescore.health`` has them; nothing where the installed version does not know them.
    """
    return _rows(conn, "status_checks")


def quarantined(conn: Connection, model: str | None = None) -> Rows:
    """Return what is kept out of learning, by model and reason.

    Raises
    ------
    UnknownModel: one was named, and there is none of that name.
    """
    found = _rows(conn, "quarantined")
    if model is None:
        return found
    check_model(conn, model)
    return [row for row in found if row["model"] == model]


def kept_out(
    conn: Connection,
    model: str,
    ids: Sequence[int] | None = None,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Rows:
    """Return what of a model is kept out of learning, by reason.

    Parameters
    ----------
    ids: only of these snapshots.
    since, until: only of those taken from the one moment on, and before the other.

    Returns
    -------
    One row per ``reason``: how many ``snapshots``, ``first_at``, ``last_at``, and their ``ids``.

    Raises
    ------
    UnknownModel
    WrongUsage: the period ends before it begins.
    """
    if since and until and since >= until:
        raise WrongUsage(
            f"--since {since.isoformat()} is not before --until {until.isoformat()}",
            hint="name an earlier --since, or a later --until: no snapshot is taken in between",
        )
    given = {"model": model, "ids": None if ids is None else list(ids)}
    with translated():
        check_model(conn, model)
        with conn.cursor(row_factory=dict_row) as cursor:
            period = {"since": since, "until": until}
            return cursor.execute(query("kept_out"), given | period).fetchall()


def release(conn: Connection, model: str, ids: Sequence[int] | None = None) -> int:
    """Let snapshots out of quarantine, all of the model's or those named; return how many."""
    with translated():
        freed: int = one(conn, query("release"), (model, None if ids is None else list(ids)))
    return freed


@contextmanager
def _known(conn: Connection, profile: str) -> Iterator[None]:
    """Say of a name that is no profile's which one was perhaps meant."""
    with translated():
        try:
            yield
        except psycopg.Error as error:
            if error.sqlstate != UnknownProfile.sqlstate:
                raise
            raise unknown_profile(conn, profile) from error


def _rows(conn: Connection, name: str, *values: Any) -> Rows:
    with translated():
        return _fetched(conn, name, *values)


def _fetched(conn: Connection, name: str, *values: Any) -> Rows:
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query(name), values or None).fetchall()
