"""``rescore doctor``: what is there, what is missing, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg

from rescore import __version__
from rescore.errors import RescoreError
from rescore.trainer.database import Connection, connect, one, query, translate, who_may

Check = Callable[[Connection], tuple[str, str]]

OLDEST = 140000
RESULTS = {"ok": "right", "warning": "warning", "error": "wrong"}
"""What is shown for the statuses of ``rescore.health``."""


def examine(dsn: str | None) -> list[dict[str, str]]:
    """Return one row per check: ``check``, ``result`` (right, missing, warning, wrong), ``detail``.

    ``missing`` is what rescore can do without, at a price that the detail names, or what this role
    may not look at; a ``warning`` is one of ``rescore.health``. Without the schema nothing of it
    is looked at.
    """
    try:
        conn = connect(dsn)
    except RescoreError as error:
        return [_row("connection", "wrong", str(error))]
    with conn:
        return list(_examined(conn))


def _examined(conn: Connection) -> Iterator[dict[str, str]]:
    info = conn.info
    yield _row("connection", "right", f"{info.user}@{info.host}:{info.port}/{info.dbname}")
    for name, check in CHECKS.items():
        try:
            result, detail = check(conn)
        except psycopg.Error as error:
            result, detail = _failed(conn, name, error)
        yield _row(name, result, detail)
        if name == "schema" and result == "wrong":
            return
    yield from _health(conn)


def _failed(conn: Connection, name: str, error: psycopg.Error) -> tuple[str, str]:
    """A check that this role may not make has found nothing wrong."""
    if isinstance(error, psycopg.errors.InsufficientPrivilege) and name != "schema":
        denied = error.diag.message_primary or ""
        return "missing", f"not looked at: {denied}; {who_may(conn, denied)}"
    return "wrong", str(translate(error))


def _health(conn: Connection) -> Iterator[dict[str, str]]:
    """What ``rescore.health`` finds amiss, a row each; one row when that is nothing."""
    try:
        rows = conn.execute(query("doctor_health")).fetchall()
    except psycopg.Error as error:
        rows = [("health", "error", translate(error))]
    for name, status, detail in rows or [("health", "ok", "every check of rescore.health is ok")]:
        yield _row(name, RESULTS[status], detail)


def _server(conn: Connection) -> tuple[str, str]:
    version = conn.info.server_version
    shown = f"PostgreSQL {version // 10000}.{version % 10000}"
    return ("right", shown) if version >= OLDEST else ("wrong", f"{shown}; 14 is the oldest")


def _schema(conn: Connection) -> tuple[str, str]:
    if one(conn, query("doctor_schema")):
        return "right", f"schema rescore is there; this command is version {__version__}"
    return "wrong", "there is no schema rescore: run `rescore install`"


def _language(conn: Connection) -> tuple[str, str]:
    if one(conn, query("doctor_language")):
        return "right", "plpython3u is there"
    return "missing", "no plpython3u: linear models work in full, others cannot be scored"


def _import(conn: Connection) -> tuple[str, str]:
    """Let the server's Python prove a tiny model: only then is everything it needs importable."""
    if not one(conn, query("doctor_proof")):
        return "missing", "the server cannot run rescore's Python: see `rescore install`"
    with conn.transaction(force_rollback=True):
        found = one(conn, query("doctor_import"), _tiny_model())
    versions = ", ".join(f"{name} {number}" for name, number in sorted(json.loads(found).items()))
    return "right", f"the server's Python has {versions}"


def _tiny_model() -> tuple[bytes, str]:
    import numpy as np
    from sklearn.linear_model import SGDClassifier

    from rescore.plpython import artifact
    from rescore.plpython.contract import Contract, Input

    fitted = SGDClassifier(loss="log_loss").partial_fit(np.array([[0.0], [1.0]]), [0, 1], [0, 1])
    contract = Contract((Input("x", "double precision", "number"),))
    return artifact.dump(fitted, "joblib"), json.dumps(contract.to_json())


def _roles(conn: Connection) -> tuple[str, str]:
    problems = one(conn, query("doctor_roles"))
    if not problems:
        return "right", "rescore_reader, rescore_trainer and rescore_admin are there"
    return "missing", f"{problems}: nobody can be let in by it; `rescore install` says what to run"


def _owners(conn: Connection) -> tuple[str, str]:
    problems = one(conn, query("doctor_owners"))
    if not problems:
        return "right", "triggers run as the owners of the profile tables"
    return "wrong", f"{problems}; `rescore apply` says what to do"


def _deferred(conn: Connection) -> tuple[str, str]:
    names = one(conn, query("doctor_deferred"))
    if not names:
        return "right", "no trigger of a table's owner runs as whoever commits"
    return "missing", f"{names}: before PostgreSQL 18 deferred triggers run as whoever commits"


def _incidents(conn: Connection) -> tuple[str, str]:
    count = one(conn, query("doctor_incidents"))
    if not count:
        return "right", "none open"
    return "wrong", f"{count} open; the view rescore.incidents tells them"


def _backfills(conn: Connection) -> tuple[str, str]:
    pending = one(conn, query("doctor_backfills"))
    return (
        ("right", "none pending") if not pending else ("wrong", f"pending: {pending}; apply again")
    )


def _row(check: str, result: str, detail: Any) -> dict[str, str]:
    return {"check": check, "result": result, "detail": str(detail)}


CHECKS: dict[str, Check] = {
    "server": _server,
    "schema": _schema,
    "PL/Python": _language,
    "import inside": _import,
    "roles": _roles,
    "owners": _owners,
    "deferred": _deferred,
    "incidents": _incidents,
    "backfills": _backfills,
}
