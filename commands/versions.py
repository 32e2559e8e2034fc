"""``publish``, ``promote``, ``rollback``, ``drop``: which versions there are, and which serves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rescore import console
from rescore.commands.options import Candidate, Dsn, Json, Model, Reason, Sweep, Version
from rescore.commands.shown import sweep_after, table


def models(dsn: Dsn = None, json: Json = False) -> None:
    """List all versions of all models."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        found = ops.models(conn)
    told = found if json else [{**row, "quality": _quality(row)} for row in found]
    shared = ("share",) if any(row["role"] == "challenger" for row in found) else ()
    table(told, json, show=("model", "version", "role", *shared, "engine", "quality", "created_at"))


def _quality(row: dict[str, Any]) -> str:
    """Return the metrics that a version was measured by: of outcomes, or of numbers."""
    measured = ((name, row[name]) for name in ("auc", "log_loss", "r2", "rmse"))
    return ", ".join(f"{name}={value:.4f}" for name, value in measured if value is not None)


def publish(
    model: Model,
    file: Annotated[Path, typer.Argument(help="A .joblib, .pkl or .skops file.")],
    dsn: Dsn = None,
    candidate: Candidate = False,
    key: Annotated[
        Path | None, typer.Option(help="Private key to sign with; else RESCORE_KEY, if set.")
    ] = None,
    sweep: Sweep = True,
    reason: Reason = None,
    json: Json = False,
) -> None:
    """Publish a fitted scikit-learn estimator as a new version."""
    from rescore.trainer.publish import publish as publish_file

    version = publish_file(file, model=model, dsn=dsn, candidate=candidate, reason=reason, key=key)
    sweep_after(model, dsn, quiet=json, wanted=sweep and not candidate)
    console.show_one({"model": model, "version": version, "serves": not candidate}, json)


def promote(
    model: Model,
    version: Version,
    dsn: Dsn = None,
    sweep: Sweep = True,
    reason: Reason = None,
    json: Json = False,
) -> None:
    """Let a recorded version serve."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        serving = ops.promote(conn, model, version, reason)
    sweep_after(model, dsn, quiet=json, wanted=sweep)
    console.show_one({"model": model, "version": serving}, json)


def rollback(
    model: Model,
    version: Annotated[int | None, typer.Argument(help="Default: the one before.")] = None,
    dsn: Dsn = None,
    sweep: Sweep = True,
    reason: Reason = None,
    json: Json = False,
) -> None:
    """Let an earlier version serve again."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        serving = ops.rollback(conn, model, version, reason)
    sweep_after(model, dsn, quiet=json, wanted=sweep)
    console.show_one({"model": model, "version": serving}, json)


def drop(
    model: Model,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: for scripts.")] = False,
    dsn: Dsn = None,
    reason: Reason = None,
    json: Json = False,
) -> None:
    """Delete what a removed model left: versions, snapshots, all that it learnt.

    Columns of scores it gave are not: see `rescore apply --drop`.
    """
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        if not yes:
            _ask(model, ops.left_behind(conn, model))
        gone = ops.drop_model(conn, model, reason)
    if json:
        console.print_json(gone)
    else:
        console.print_lines(_left(gone))


def _left(found: list[dict[str, Any]]) -> list[str]:
    """Return a line for each place that holds anything, and one for all of them."""
    held = [each for each in found if each["amount"]]
    sizes = [console.size(each["bytes"]) for each in held]
    places = max((len(each["place"]) for each in held), default=0)
    amounts = max((len(str(each["amount"])) for each in held), default=0)
    lines = [
        f"  {each['place']:<{places}}  {each['amount']:>{amounts}}  {size:>8}"
        for each, size in zip(held, sizes, strict=True)
    ]
    return [*lines, f"  {console.size(sum(each['bytes'] for each in found))} in all"]


def _ask(model: str, found: list[dict[str, Any]]) -> None:
    """Tell what would be deleted, and go on only where somebody says so."""
    from rescore.trainer.usage import WrongUsage

    message = f'drop deletes all of model "{model}" for good'
    lines = _left(found)
    if not sys.stdin.isatty():
        raise WrongUsage(
            message,
            detail="\n".join(["Nothing was deleted; nobody is there to be asked.", *lines]),
            hint="call it again with --yes",
        )
    typer.echo("\n".join([f"{message}:", *lines]), err=True)
    if not console.ask("Delete it?"):
        raise typer.Abort


def verify_model(model: Model, dsn: Dsn = None, json: Json = False) -> None:
    """Compare the compiled scorer with the artefact over the live rows."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        console.show_one(
            {"model": model, "largest_difference": ops.verify_model(conn, model)}, json
        )
