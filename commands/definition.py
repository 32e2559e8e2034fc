"""``install``, ``plan``, ``apply``, ``schema``: the database brought to a definition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rescore import console
from rescore.commands.options import Drop, Dsn, File, Json

if TYPE_CHECKING:
    from rescore.compiler.definition import Definition
    from rescore.trainer.database import Connection


def install(
    dsn: Dsn = None,
    python_path: Annotated[
        list[str] | None,
        typer.Option(help="Directory for the server's Python; repeat for several. Superuser only."),
    ] = None,
    json: Json = False,
) -> None:
    """Bring the database to this version's schema; does nothing where it is there already."""
    from rescore.sql import install as sql_install
    from rescore.trainer.database import address

    report = vars(sql_install.install(address(dsn), python_path=python_path))
    if not json and not report["python_path"]:
        report = {name: value for name, value in report.items() if name != "python_path"}
    console.show_one(report, json)


def plan(file: File, dsn: Dsn = None, drop: Drop = False, json: Json = False) -> None:
    """Print the SQL that apply would run."""
    from rescore.compiler.apply import plan as make_plan
    from rescore.compiler.definition import load
    from rescore.trainer.database import connection

    definition = load(file)
    with connection(dsn, admin=True) as conn:
        _check_estimators(conn, definition)
        made = make_plan(conn, definition, drop=drop)
    if json:
        console.print_json({"changes": made.changes, "notes": made.notes, "sql": made.script})
    else:
        console.print_lines([f"-- {line}" for line in [*made.changes, *made.notes]])
        console.print_lines([made.script] if made.script else [])
        console.print_lines(["-- nothing to do"] if made.empty else [])


def apply(
    file: File,
    dsn: Dsn = None,
    drop: Drop = False,
    indexes: Annotated[bool, typer.Option(help="Create missing indexes on event keys.")] = True,
    lock_timeout: Annotated[
        float,
        typer.Option(help="Seconds to wait for locks, each of 60 times.", min=0.01),
    ] = 0.5,
    json: Json = False,
) -> None:
    """Bring the database to a definition: profile table, triggers, functions, backfill."""
    from rescore.compiler.apply import apply as apply_definition
    from rescore.compiler.definition import load
    from rescore.trainer.database import connection

    definition = load(file)
    shown = console.progress(f"apply {file.name}", quiet=json)
    with connection(dsn, admin=True) as conn, shown as progress:
        _check_estimators(conn, definition)
        made = apply_definition(
            conn,
            definition,
            source=file.read_text("utf-8"),
            drop=drop,
            create_indexes=indexes,
            lock_timeout=lock_timeout,
            progress=progress,
            doing=progress.doing,
        )
    if json:
        console.print_json({"changes": made.changes, "notes": made.notes})
    else:
        console.print_lines(made.changes or ["nothing to do"])
        console.print_lines([f"note: {note}" for note in made.notes])


def schema() -> None:
    """Print the JSON Schema of definition files, for editors."""
    from rescore.compiler.definition import json_schema

    console.print_json(json_schema())


def _check_estimators(conn: Connection, definition: Definition) -> None:
    """Refuse misspelt parameters now, not when it is first trained.

    What is there already was checked when it came, perhaps by another scikit-learn: nothing else
    of the definition has to wait until that is mended.
    """
    from rescore.trainer.database import query

    rows = conn.execute(query("known_estimators"), (definition.profile.name,)).fetchall()
    known: dict[str, object] = dict(rows)
    for name, model in definition.models.items():
        if "estimator" in model.model_fields_set and model.estimator != known.get(name):
            from rescore.trainer.estimators import make_estimator  # scikit-learn takes seconds

            make_estimator(model.estimator, seed=0)
