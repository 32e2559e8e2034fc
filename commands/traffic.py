"""Who serves beside the champion, and what came of it: ``challenge``, ``compare``, ``uplift``."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Annotated

import typer

from rescore import console
from rescore.commands.options import Dsn, Json, Model, Reason, Since, Sweep, Version
from rescore.commands.shown import sweep_after

if TYPE_CHECKING:
    from rescore.trainer.compare import Comparison


Rival = Annotated[
    int | None,
    typer.Argument(help="Default: the challenger, a shadow, or the version that served before."),
]
NO_VERSIONS = "no score is logged yet: `rescore run` takes snapshots"
NO_WEEKS = "nothing is resolved yet: a snapshot is, once its horizon has passed"


def challenge(
    model: Model,
    version: Version,
    share: Annotated[str, typer.Option(help="Of the customers, such as 10% or 0.1.")],
    dsn: Dsn = None,
    sweep: Sweep = True,
    reason: Reason = None,
    json: Json = False,
) -> None:
    """Let a recorded version serve a share of the customers, by a stable hash of the key."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection
    from rescore.trainer.usage import share_of

    part = share_of(share)
    with connection(dsn) as conn:
        ops.challenge(conn, model, version, part, reason)
    sweep_after(model, dsn, quiet=json, wanted=sweep)
    console.show_one({"model": model, "challenger": version, "share": part}, json)


def shadow(
    model: Model, version: Version, dsn: Dsn = None, reason: Reason = None, json: Json = False
) -> None:
    """Let a recorded version score beside the champion in snapshots, and serve nobody."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        ops.shadow(conn, model, version, reason)
    console.show_one({"model": model, "shadow": version}, json)


def demote(
    model: Model,
    version: Version,
    dsn: Dsn = None,
    sweep: Sweep = True,
    reason: Reason = None,
    json: Json = False,
) -> None:
    """End a challenge or a shadow; the version stays recorded."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        ops.demote(conn, model, version, reason)
    sweep_after(model, dsn, quiet=json, wanted=sweep)
    console.show_one({"model": model, "demoted": version}, json)


def compare(
    model: Model,
    version: Rival = None,
    champion: Annotated[
        int | None, typer.Option("--with", help="Compare with this one, not with the champion.")
    ] = None,
    since: Since = None,
    dsn: Dsn = None,
    json: Json = False,
) -> None:
    """Compare a version with the champion on resolved snapshots, with intervals and a stop rule."""
    from rescore.trainer.compare import compare as compare_versions
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        found = compare_versions(conn, model, version, champion, since=since)
    if json:
        console.print_json(found.to_json())
    else:
        _show_comparison(found)


def quality(
    model: Annotated[str | None, typer.Argument(help="Name of the model. Default: all.")] = None,
    weeks: Annotated[bool, typer.Option("--weeks", help="By week, not by version.")] = False,
    dsn: Dsn = None,
    json: Json = False,
) -> None:
    """Say what came of the scores that were served, by version, with intervals by customer."""
    from rescore.trainer import quality as told
    from rescore.trainer.database import connection

    shown = f"quality {model}" if model else "quality"
    with connection(dsn) as conn, console.progress(shown, quiet=json, again=""):
        found = (told.by_week if weeks else told.by_version)(conn, model)
    if json:
        console.print_json(found)
        return
    if not found:
        console.say(NO_WEEKS if weeks else NO_VERSIONS)
    for name, rows in groupby(found, itemgetter("model")):
        lines = [
            line for row in rows for line in (told.week_lines if weeks else told.version_lines)(row)
        ]
        some = [name for name in lines[0] if any(line[name] not in (None, "") for line in lines)]
        console.show(lines, as_json=False, columns=some, title=f"model {name}")


def uplift(
    model: Model,
    since: Since = None,
    dsn: Dsn = None,
    json: Json = False,
) -> None:
    """Say what treating customers has changed, beside the holdout, with intervals by customer."""
    from rescore.trainer.comparison_report import uplift_rows
    from rescore.trainer.database import connection
    from rescore.trainer.uplift import uplift as told

    with connection(dsn) as conn:
        found = told(conn, model, since=since)
    if json:
        console.print_json(found.to_json())
        return
    console.show(uplift_rows(found), as_json=False)
    console.print_lines(
        [f"{found.snapshots} snapshots of {found.customers} customers, {found.held_out} held out"]
    )


def _show_comparison(found: Comparison) -> None:
    from rescore.trainer.comparison_report import lines, served_rows, table

    console.show(table(found), as_json=False)
    if rows := served_rows(found):
        console.show(rows, as_json=False, title="outcomes by who served")
    console.print_lines(lines(found))
