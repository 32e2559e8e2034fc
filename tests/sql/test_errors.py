"""The table of errors is complete, and SQL raises nothing that is not in it."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from rescore.errors import BY_SQLSTATE

TABLE = Path(__file__).parents[2] / "docs" / "errors.md"
RAISED = re.compile(r"RAISE EXCEPTION USING (.*?);\n", re.DOTALL)


def test_the_manual_lists_every_error() -> None:
    row = re.compile(r"^\| `(RS\d{3})` \| `(\w+)` \| (.*?) \|", re.MULTILINE)
    listed = {state: (name, text) for state, name, text in row.findall(TABLE.read_text("utf-8"))}
    assert listed == {
        state: (each.__name__, (each.__doc__ or "").strip()) for state, each in BY_SQLSTATE.items()
    }


def test_sql_raises_known_errors_that_say_what_to_do() -> None:
    texts = [
        e.read_text("utf-8") for e in files("rescore.sql").iterdir() if e.name.endswith(".sql")
    ]
    raised = [found for text in texts for found in RAISED.findall(text)]
    assert len(raised) > 30
    for each in raised:
        state = re.search(r"ERRCODE = '(\w+)'", each)
        assert state, each
        assert state[1] in BY_SQLSTATE
        assert "HINT = " in each
        assert "MESSAGE = " in each
