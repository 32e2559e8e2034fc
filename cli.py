"""The command line: which commands there are, and what becomes of their errors."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import typer

from rescore import console
from rescore.commands import definition, learning, queue, running, traffic, upkeep, versions
from rescore.commands.demo import demo
from rescore.commands.keys import keys
from rescore.commands.outbox import outbox
from rescore.commands.server import server
from rescore.errors import RescoreError

COMMANDS: dict[str, tuple[Callable[..., Any], ...]] = {
    "Define": (definition.install, definition.plan, definition.apply, definition.schema),
    "Learn": (
        learning.train,
        learning.examples,
        learning.learn,
        learning.drift,
        learning.quarantine,
        learning.release,
    ),
    "Serve": (
        versions.models,
        versions.publish,
        versions.promote,
        versions.rollback,
        versions.verify_model,
        traffic.challenge,
        traffic.shadow,
        traffic.demote,
        traffic.compare,
        traffic.uplift,
    ),
    "Keep going": (
        running.run,
        running.schedule,
        upkeep.sweep,
        upkeep.snapshot,
        queue.fold,
        queue.pause,
        queue.resume,
    ),
    "Look and mend": (
        upkeep.status,
        upkeep.doctor,
        upkeep.verify,
        upkeep.rebuild,
        upkeep.forget,
    ),
}
GROUPS = {"outbox": (outbox, "Keep going"), "keys": (keys, "Serve"), "server": (server, "Try")}

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A score in the row: scoring and online learning inside PostgreSQL.",
)
for panel, functions in COMMANDS.items():
    for function in functions:
        app.command(rich_help_panel=panel)(function)
app.command(rich_help_panel="Try")(demo)
for name, (group, panel) in GROUPS.items():
    app.add_typer(group, name=name, rich_help_panel=panel)


def main() -> None:
    """Run the command line; errors become one message and an exit code, never a traceback."""
    from rescore.trainer.database import translated

    try:
        with translated():
            app()
    except RescoreError as error:
        console.print_error(error)
        sys.exit(error.exit_code)
    except OSError as error:  # a folder that cannot be made, a disk that is full
        where = f"{error.filename}: " if error.filename else ""
        message = f"{where}{error.strerror or error}"
        console.print_error(RescoreError(message, hint="name a place that can be written"))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
