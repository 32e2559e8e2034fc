"""``status``, ``sweep``, ``snapshot``, ``verify``, ``rebuild``, ``forget``, ``doctor``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rescore import console
from rescore.commands.options import Batch, Dsn, Jobs, Json, MaxAge, Profile, Rate, Tolerance
from rescore.commands.shown import rows, table


def status(dsn: Dsn = None, json: Json = False) -> None:
    """Say what serves, since when, what learns nothing, and whether there are incidents."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        found = ops.status(conn)
        told = [] if json else ops.checks(conn)
    columns = (
        "model", "profile", "champion", "challenger", "since", "learnt", "idle", "moved",
        "kept out", "backfilling", "paused", "removed", "incidents",
    )  # fmt: skip
    rare = frozenset(columns) - {"model", "profile", "champion", "since", "incidents"}
    none = "no model is defined: `rescore apply` makes those of a definition"
    table(found if json else [*map(_short, found)], json, show=columns, rare=rare, empty=none)
    console.print_lines([f"{check['check']}: {check['detail']}" for check in told])


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """Say of a model how many columns have moved, which `rescore drift` names, and be brief."""
    moved = row["columns_moved"]
    told = f"{moved} column{'s' if moved > 1 else ''}" if moved else None
    return {**row, "moved": told, "kept out": row["quarantined"]}


def sweep(
    profile: Profile,
    dsn: Dsn = None,
    max_age: MaxAge = None,
    batch: Batch = None,
    rate: Rate = None,
    tolerance: Tolerance = 0.0,
    jobs: Jobs = 1,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew where a sweep was cut short.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="For a sweep of this profile that is under way.")
    ] = False,
    json: Json = False,
) -> None:
    """Bring scores to the present: those the model or the clock has moved on from."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn, console.progress(f"sweep {profile}", quiet=json) as progress:
        swept = ops.sweep(
            conn,
            profile,
            max_age,
            batch,
            rate=rate,
            tolerance=tolerance,
            jobs=jobs,
            restart=restart,
            wait=wait,
            progress=progress,
        )
    told = {"rows": swept.looked, "written": swept.changed, "locked": swept.locked}
    console.show_one({"profile": profile, **told, "seconds": round(swept.seconds, 2)}, json)


def snapshot(profile: Profile, dsn: Dsn = None, batch: Batch = None, json: Json = False) -> None:
    """Log the scores of a profile where a round is due, and resolve what is due."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn, console.progress(f"snapshot {profile}", quiet=json) as progress:
        logged = ops.log(conn, profile, batch, progress)
    console.show_one({"profile": profile, **vars(logged)}, json)


def verify(profile: Profile, dsn: Dsn = None, json: Json = False) -> None:
    """Compare every stored value with a recount of the events; exit code 1 when any differs."""
    found = rows("verify", dsn, json, profile, empty="0 differences")
    raise typer.Exit(1 if found else 0)


def rebuild(profile: Profile, dsn: Dsn = None, json: Json = False) -> None:
    """Recompute a profile from its events; say how many rows changed."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn, console.progress(f"rebuild {profile}", quiet=json):
        changed = ops.rebuild(conn, profile)
    console.show_one({"profile": profile, "changed": changed}, json)


def forget(
    profile: Profile,
    key: Annotated[str, typer.Argument(help="Key of the person, as in the profile table.")],
    dsn: Dsn = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Let the key count again, from its next event on.")
    ] = False,
    json: Json = False,
) -> None:
    """Remove a person from all rescore holds, and keep events from bringing them back."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    if not undo:
        removed = rows("forget", dsn, json, profile, key)
        if not json and not any(each["removed"] for each in removed):
            console.say("nobody had this key; what comes of it will not be counted")
        return
    with connection(dsn) as conn:
        console.show_one({"profile": profile, "lifted": ops.remember(conn, profile, key)}, json)


def doctor(dsn: Dsn = None, json: Json = False) -> None:
    """Check connection, server, PL/Python and health; exit code 1 when anything is wrong."""
    from rescore.trainer.doctor import examine

    found = examine(dsn)
    console.show(found, as_json=json)
    raise typer.Exit(1 if any(check["result"] == "wrong" for check in found) else 0)
