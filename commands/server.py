"""``rescore server``: the private PostgreSQL."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from rescore import console
from rescore.commands.options import Home, Json

server = typer.Typer(
    name="server", no_args_is_help=True, help="The private PostgreSQL for demo and tests."
)


@server.command("start")
def server_start(
    home: Home = None,
    tuning: Annotated[
        str, typer.Option(help="demo (safe settings) or tests (faster, may lose data in a crash).")
    ] = "demo",
    json: Json = False,
) -> None:
    """Start the private PostgreSQL, or say where it runs."""
    from rescore.server import private

    running = private.start(home, tuning)
    console.show_one(vars(running), json)
    if not json:
        console.print_lines([f"export RESCORE_DSN={shlex.quote(running.dsn)}"])


@server.command("stop")
def server_stop(home: Home = None) -> None:
    """Stop the private PostgreSQL."""
    from rescore.server import private

    console.print_lines(["stopped" if private.stop(home) else "was not running"])


@server.command("status")
def server_status(home: Home = None, json: Json = False) -> None:
    """Say whether the private PostgreSQL runs, and where; exit code 1 when not."""
    from rescore.server import private

    running = private.status(home)
    console.show_one(vars(running) if running else {"running": False}, json)
    raise typer.Exit(0 if running else 1)
