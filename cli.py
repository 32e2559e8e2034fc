"""The command line: which commands there are, and what becomes of their errors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from rescore import __version__, console
from rescore.commands import definition, learning, queue, running, traffic, upkeep, versions
from rescore.commands.demo import demo
from rescore.commands.keys import keys
from rescore.commands.outbox import outbox
from rescore.commands.server import server
from rescore.errors import RescoreError

PANELS: dict[str, tuple[Callable[..., Any] | typer.Typer, ...]] = {
    "A profile": (
        definition.install,
        definition.plan,
        definition.apply,
        definition.schema,
        upkeep.status,
        upkeep.doctor,
    ),
    "Models": (
        learning.train,
        learning.examples,
        versions.publish,
        versions.models,
        versions.verify_model,
        versions.drop,
        keys,
    ),
    "Who serves": (
        versions.promote,
        versions.rollback,
        traffic.challenge,
        traffic.shadow,
        traffic.demote,
        traffic.compare,
        traffic.quality,
        traffic.uplift,
    ),
    "Learning on": (
        upkeep.snapshot,
        learning.learn,
        learning.drift,
        learning.quarantine,
        learning.release,
    ),
    "Up to date": (running.run, running.schedule, upkeep.sweep, queue.fold, outbox),
    "Upkeep": (upkeep.verify, upkeep.rebuild, queue.pause, queue.resume, upkeep.forget),
    "To try out": (demo, server),
}
"""The headings of ``rescore --help``, and what stands below each."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A score in the row: scoring and online learning inside PostgreSQL.",
)
for panel, members in PANELS.items():
    for member in members:
        if isinstance(member, typer.Typer):
            app.add_typer(member, rich_help_panel=panel)
        else:
            app.command(rich_help_panel=panel)(member)


def _tell_version(asked: bool) -> None:
    if asked:
        console.say(f"rescore {__version__}")
        raise typer.Exit


INTERRUPTED, TERMINATED = 130, 143
"""Exit codes of a command that Ctrl-C or SIGTERM ended, as of a shell's."""

Version = typer.Option("--version", callback=_tell_version, is_eager=True, help="Say which it is.")


@app.callback()
def _options(version: Annotated[bool, Version] = False) -> None:
    """What goes before a command."""


def main() -> None:
    """Run the command line; errors become one message and an exit code, never a traceback."""
    from rescore.trainer.signals import hint_of, terminable

    with terminable() as terminated:
        try:
            _run()
        except (KeyboardInterrupt, SystemExit) as stop:  # typer makes an exit of Ctrl-C
            code = stop.code if isinstance(stop, SystemExit) else INTERRUPTED
            if code == INTERRUPTED:
                code = TERMINATED if terminated.is_set() else INTERRUPTED
                what = "ended by SIGTERM" if terminated.is_set() else "interrupted"
                console.print_error(RescoreError(what, hint=hint_of(stop)))
            sys.exit(code)


def _run() -> None:
    try:
        with _translated():
            app()
    except RescoreError as error:
        console.print_error(error)
        sys.exit(error.exit_code)
    except OSError as error:  # a folder that cannot be made, a disk that is full
        where = f"{error.filename}: " if error.filename else ""
        message = f"{where}{error.strerror or error}"
        console.print_error(RescoreError(message, hint="name a place that can be written"))
        sys.exit(1)


@contextmanager
def _translated() -> Iterator[None]:
    """As `rescore.trainer.database.translated`, which takes a while to import: only for errors."""
    try:
        yield
    except Exception:
        from rescore.trainer.database import translated

        with translated():
            raise


if __name__ == "__main__":
    main()
