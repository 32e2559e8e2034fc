"""What several commands do at their end."""

from __future__ import annotations

import shlex
from typing import Any

from rescore import console


def sweep_after(model: str, dsn: str | None, *, wanted: bool, quiet: bool) -> None:
    """Bring a profile's scores to the version that now serves, where that is wanted."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    if not wanted:
        return
    with connection(dsn) as conn:
        profile = ops.profile_of(conn, model)
        again = f"the version serves; `rescore sweep {shlex.quote(profile)}` does the rest"
        with console.progress(f"rescore by {model}", quiet=quiet, again=again) as progress:
            ops.sweep_model(conn, profile, progress)


def rows(
    command: str,
    dsn: str | None,
    json: bool,
    *values: Any,
    show: tuple[str, ...] = (),
    rare: frozenset[str] = frozenset(),
    empty: str = "nothing",
) -> list[dict[str, Any]]:
    """Print the rows of an operation, and return them; see `table`."""
    from rescore.trainer import operations as ops
    from rescore.trainer.database import connection

    with connection(dsn) as conn:
        found: list[dict[str, Any]] = getattr(ops, command)(conn, *values)
    table(found, json, show=show, rare=rare, empty=empty)
    return found


def table(
    found: list[dict[str, Any]],
    json: bool,
    *,
    show: tuple[str, ...] = (),
    rare: frozenset[str] = frozenset(),
    empty: str = "nothing",
) -> None:
    """Print rows: all they hold as JSON, the columns named as a table.

    Those that are rare are shown where a row has something in them.
    """
    if json:
        console.print_json(found)
        return
    shown = [name for name in show if name not in rare or any(row[name] for row in found)]
    console.show(found, as_json=False, columns=shown, empty=empty)
