"""``publish``, ``promote``, ``rollback``: which versions there are, and which serves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rescore import console
from rescore.commands.options import Candidate, Dsn, Json, Model, Reason, Sweep, Version
from rescore.commands.shown import rows, sweep_after


def models(dsn: Dsn = None, json: Json = False) -> None:
    """List all versions of all models."""
    columns = ("model", "version", "role", "share", "engine", "auc", "log_loss", "created_at")
    rows("models", dsn, json, show=columns)


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
    sweep_after(model, dsn, wanted=sweep and not candidate)
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
    sweep_after(model, dsn, wanted=sweep)
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
    sweep_after(model, dsn, wanted=sweep)
    console.show_one({"model": model, "version": serving}, json)


def verify_model(model: Model, dsn: Dsn = None, json: Json = False) -> None:
    """Compare the compiled scorer with the artefact over the live rows."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        console.show_one(
            {"model": model, "largest_difference": ops.verify_model(conn, model)}, json
        )
