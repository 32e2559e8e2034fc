"""``train``, ``examples``, ``learn``, and what is kept out of learning."""

from __future__ import annotations

from datetime import timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rescore import console
from rescore.commands.options import (
    Before,
    Candidate,
    Dsn,
    Json,
    Model,
    Moments,
    Most,
    Reason,
    Since,
    Sweep,
    Until,
)
from rescore.commands.shown import sweep_after, table

if TYPE_CHECKING:
    from rescore.trainer.train import TrainingReport


def train(
    model: Model,
    dsn: Dsn = None,
    moments: Moments = "monthly",
    until: Until = None,
    most: Most = 24,
    passes: Annotated[
        int | None, typer.Option(help="Passes of partial_fit; default: a million examples.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the shuffling.")] = 0,
    publish: Annotated[bool, typer.Option("--publish", help="Publish the new version.")] = False,
    candidate: Candidate = False,
    sweep: Sweep = True,
    reason: Reason = None,
    json: Json = False,
) -> None:
    """Train on past moments, measure on the newest, and publish if asked."""
    from rescore.trainer import report
    from rescore.trainer.database import connection
    from rescore.trainer.train import publish_trained
    from rescore.trainer.train import train as train_model

    chosen = report.parse_moments(moments)
    with connection(dsn) as conn, console.progress(f"train {model}", quiet=json) as progress:
        made = train_model(
            conn,
            model,
            moments=chosen,
            until=until,
            most=most,
            passes=passes,
            seed=seed,
            progress=progress,
        )
        try:
            if publish or candidate:
                made = publish_trained(conn, made, candidate=candidate, reason=reason)
        finally:  # what was learnt is told even when it is refused
            _show_training(made, json)
    sweep_after(model, dsn, quiet=json, wanted=sweep and publish and not candidate)


def examples(
    model: Model,
    out: Annotated[Path, typer.Option(help="A .csv or .npz file.", dir_okay=False)],
    dsn: Dsn = None,
    moments: Moments = "monthly",
    until: Until = None,
    most: Most = 24,
    json: Json = False,
) -> None:
    """Write the training examples to a file, for notebooks."""
    from rescore.trainer import report
    from rescore.trainer.database import connection
    from rescore.trainer.export import export

    chosen = report.parse_moments(moments)
    with connection(dsn) as conn, console.progress(f"examples {model}", quiet=json) as progress:
        made = export(conn, model, out, moments=chosen, until=until, most=most, progress=progress)
    console.show_one({"model": model, "file": out, "examples": made}, json)


def learn(
    model: Model,
    dsn: Dsn = None,
    max_batches: Annotated[
        int | None, typer.Option(help="One round of no more micro-batches than this.", min=1)
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Go on from the champion, not from what was refused.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="For a session that learns this model already.")
    ] = False,
    sweep: Sweep = True,
    json: Json = False,
) -> None:
    """Learn on from what was resolved since the last round; exit code 3 when the gate refuses."""
    from rescore.trainer.database import connection
    from rescore.trainer.loop.learn import learn as learn_model
    from rescore.trainer.loop.report import summary
    from rescore.trainer.stopping import waits_told

    with (
        connection(dsn) as conn,
        console.progress(f"learn {model}", quiet=json) as progress,
        waits_told(conn, progress.doing),
    ):
        made = learn_model(
            conn,
            model,
            max_batches=max_batches,
            restart=restart,
            wait=wait,
            progress=progress,
            say=progress.doing,
        )
    if json:
        console.print_json(made.to_json())
    else:
        console.print_lines(summary(made))
    sweep_after(model, dsn, quiet=json, wanted=sweep and made.published)
    raise typer.Exit(3 if made.refused else 0)


def drift(model: Model, dsn: Dsn = None, json: Json = False) -> None:
    """Compare the newest snapshots with what the serving version learnt from, column by column."""
    from rescore.trainer.database import connection
    from rescore.trainer.loop.drift import watch

    with connection(dsn) as conn:
        moved = [each.to_json() for each in watch(conn, model)]
    columns = ("feature", "psi", "psi_by_chance", "outside", "before", "now", "changed_at")
    rare = frozenset({"changed_at"})
    if not json:  # what training keeps no sample of has a row only once it has changed
        moved = [row for row in moved if any(row[name] is not None for name in columns[1:])]
    table(moved, json, show=columns, rare=rare, empty="nothing to compare")


def quarantine(
    model: Annotated[str | None, typer.Argument(help="Name of the model. Default: all.")] = None,
    dsn: Dsn = None,
    json: Json = False,
) -> None:
    """List the snapshots kept out of learning, by model and reason."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        found = ops.quarantined(conn, model)
    _show_kept_out(found, json, empty="nothing is kept out")
    if found and not json:
        console.say(
            "`rescore release MODEL` lets them be learnt; `clip` on a feature, and `rescore train` "
            "after it, make such values plausible from then on"
        )


def release(
    model: Model,
    snapshot: Annotated[
        list[int] | None, typer.Option("--id", help="A snapshot; repeat. Default: all.")
    ] = None,
    since: Since = None,
    until: Before = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be let out.")
    ] = False,
    dsn: Dsn = None,
    json: Json = False,
) -> None:
    """Let snapshots out of quarantine: they are learnt whatever they hold."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    period = {"since": since, "until": until}
    with connection(dsn) as conn:
        found = ops.kept_out(conn, model, snapshot, **period)
        ids = [each for row in found for each in row.pop("ids")]
        if dry_run or not json:
            _show_kept_out(found, json, empty="nothing of that is kept out")
        if not dry_run:
            told = {"model": model, "released": ops.release(conn, model, ids)}
            console.show_one(told, json)


def _show_kept_out(found: list[dict[str, Any]], json: bool, *, empty: str) -> None:
    """Print what is kept out, its moments as `--since` and `--until` take them: in UTC."""
    told = ("model", "reason", "snapshots")
    shown = [
        {name: row[name] for name in told if name in row}
        | {f"{name} UTC": row[name].astimezone(timezone.utc) for name in ("first_at", "last_at")}
        for row in found
    ]
    console.show(found if json else shown, as_json=json, empty=empty)


def _show_training(made: TrainingReport, json: bool) -> None:
    from rescore.trainer import report

    if json:
        console.print_json(made.to_json())
    else:
        console.print_lines(report.summary(made))
        if bins := report.bins(made):
            console.show(bins, as_json=False, title="calibration")
