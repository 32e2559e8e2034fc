"""In which order and under which headings ``rescore --help`` lists the commands."""

from __future__ import annotations

import typer
from typer.models import CommandInfo, TyperInfo

PANELS = {
    "A profile": ("install", "plan", "apply", "schema", "status", "doctor"),
    "Models": ("train", "examples", "publish", "models", "verify-model", "keys"),
    "Who serves": ("promote", "rollback", "challenge", "shadow", "demote", "compare", "uplift"),
    "Learning on": ("snapshot", "learn", "drift", "quarantine", "release"),
    "Up to date": ("run", "schedule", "sweep", "fold", "outbox"),
    "Upkeep": ("verify", "rebuild", "pause", "resume", "forget"),
    "To try out": ("demo", "server"),
}
_ORDER = [name for names in PANELS.values() for name in names]


def arrange(app: typer.Typer) -> None:
    """Give each command its heading, and bring them into the order of the headings.

    Raises
    ------
    StopIteration: a command is in none.
    """
    for each in (*app.registered_commands, *app.registered_groups):
        each.rich_help_panel = next(p for p, names in PANELS.items() if _name(each) in names)
    app.registered_commands.sort(key=lambda each: _ORDER.index(_name(each)))
    app.registered_groups.sort(key=lambda each: _ORDER.index(_name(each)))


def _name(each: CommandInfo | TyperInfo) -> str:
    if isinstance(each.name, str):
        return each.name
    function = each.callback
    return function.__name__.replace("_", "-") if function else ""
