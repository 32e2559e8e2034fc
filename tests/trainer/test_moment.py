"""Moments are read as ISO 8601 has them, and as PostgreSQL prints them."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from rescore.cli import app
from rescore.trainer.moment import moment


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2025-10-20", "2025-10-20T00:00:00+00:00"),
        ("2025-10-20 00:00:00+00", "2025-10-20T00:00:00+00:00"),
        ("2025-10-20T01:02+02", "2025-10-20T01:02:00+02:00"),
        ("2025-10-20 01:02:03+0530", "2025-10-20T01:02:03+05:30"),
        ("2025-10-20 01:02:03.4-03:30", "2025-10-20T01:02:03.400000-03:30"),
        ("1890-10-20 01:02:03.1234567Z", "1890-10-20T01:02:03.123456+00:00"),
        ("1890-10-20 01:02:03+00:53:28", "1890-10-20T01:02:03+00:53:28"),
        (" 2025-10-20 01:02:03 ", "2025-10-20T01:02:03+00:00"),
    ],
)
def test_what_postgresql_prints_is_read(text: str, said: str) -> None:
    assert moment(text).isoformat() == said


@pytest.mark.parametrize("text", ["", "soon", "2025-13-01", "2025-10-20 00:00+", "2025-10-20+02"])
def test_what_is_no_moment_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match=" is no moment: write 2025-10-20"):
        moment(text)


@pytest.mark.parametrize("command", ["compare", "uplift", "release"])
def test_commands_take_them(command: str) -> None:
    nowhere = ["--dsn", "host=127.0.0.1 port=1 connect_timeout=2"]
    taken = CliRunner().invoke(app, [command, "churn", "--since", "2025-10-20 00:00+00", *nowhere])
    assert "cannot connect" in str(taken.exception)
    refused = CliRunner().invoke(app, [command, "churn", "--since", "soon", *nowhere])
    assert refused.exit_code == 2 and "is no moment" in refused.output
