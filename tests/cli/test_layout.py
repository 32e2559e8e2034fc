"""Tables that fit the screen: nothing is lost, and little is broken."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from rescore import console
from rescore.commands.upkeep import _short
from rescore.layout import SHORT, fit, wrap

STATUS: dict[str, Any] = {
    "model": "churn",
    "profile": "customer_profile",
    "champion": 12,
    "since": "2026-11-22 14:23",
    "learnt": "published 12 2026-11-22 14:23",
    "columns_moved": 3,
    "moved": "spend, visits, label",
    "quarantined": 40,
    "incidents": 0,
}
IDLE = {**STATUS, "idle": "waiting 2026-11-23 14:23: 12 customers to test on, 200 are needed"}
DRIFT = [
    {"feature": name, "psi": 0.03522, "psi_by_chance": 0.03246, "outside": 0.0008,
     "before": -1234.0, "now": 1.234e-05, "changed_at": "2026-01-03 01:42"}
    for name in ("days_since_last_complaint__missing", "last_channel=a shop called nine", "loss")
]  # fmt: skip
GAINS = {
    "log_loss": ("0.5749 (0.5516 to 0.5982)", "-0.04572 (-0.0667 to -0.02475)"),
    "auc": ("0.8173 (0.774 to 0.8606)", "5.008e-05 (-0.0001687 to 0.0002688)"),
    "calibration_in_the_large": ("-0.06181 (-0.2615 to 0.1379)", ""),
}
COMPARE = [
    {"metric": name, "version 13": own, "version 12": own, "gain": gain}
    for name, (own, gain) in GAINS.items()
]


def printed(
    rows: list[dict[str, Any]], columns: int, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(console.out, "_width", columns)  # COLUMNS is read once, when made
    console.show(rows, as_json=False)
    return [line.rstrip() for line in capfd.readouterr().out.splitlines()]


@pytest.mark.parametrize("columns", [80, 100, 140, 200])
@pytest.mark.parametrize("rows", [[_short(STATUS)], [_short(IDLE)], DRIFT, COMPARE])
def test_no_line_is_wider_than_the_screen_and_nothing_is_lost(
    rows: list[dict[str, Any]], columns: int, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = printed(rows, columns, capfd, monkeypatch)
    assert max(map(cell_len, lines)) <= columns
    given = "".join(console._cell(value) for row in rows for value in row.values())
    assert not Counter(given.replace(" ", "")) - Counter("".join(lines))
    for name in rows[0]:
        assert {*re.split("[ _]", name)} <= {*re.split(r"[\s_]+", "\n".join(lines))}


def test_where_there_is_room_a_row_is_a_line(capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for rows, columns in ((DRIFT, 140), (COMPARE, 140), ([IDLE], 240)):
        lines = printed(rows, columns, capfd, monkeypatch)
        assert len(lines) == 3 + len(rows) + 1
        assert re.split(" {2,}", lines[3].strip()) == [*map(console._cell, rows[0].values())]


def test_an_interval_is_kept_together_where_it_can_be(
    capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, lines = "(0.5516 to 0.5982)", printed(COMPARE, 80, capfd, monkeypatch)
    assert re.split(" {2,}", lines[4])[1:] == [own, own, "(-0.0667 to -0.02475)"]


def test_where_no_screen_is_words_stay_whole(capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(console.out, "_width", 40)
    console.show([{**IDLE, "moved": DRIFT[0]["feature"]}], as_json=False)
    lines = capfd.readouterr().out.splitlines()
    assert any(DRIFT[0]["feature"] in line for line in lines)
    assert {*IDLE["idle"].split()} <= {*" ".join(lines).split()}


def test_what_has_no_room_side_by_side_is_names_and_values(
    capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{**_short(IDLE), "paused": None}, {**_short(IDLE), "model": "risk", "paused": "now"}]
    lines = printed(rows, 60, capfd, monkeypatch)
    assert lines[:3] == [
        "model          churn",
        "profile        customer_profile",
        "champion       12",
    ]
    assert sum(line.startswith("paused") for line in lines) == 1  # what is empty is left out
    assert "model          risk" in lines and "paused         now" in lines
    idle = lines.index("idle           waiting 2026-11-23 14:23: 12 customers to")
    assert lines[idle + 1] == "               test on, 200 are needed"


MARKS = "ab_=.(,) \n1é日"
texts = st.lists(st.text(MARKS, max_size=60), min_size=2, max_size=2)
columns_of = st.lists(
    st.tuples(st.text("ab_", min_size=1), texts).map(lambda c: [c[0], *c[1]]),
    min_size=1,
    max_size=6,
)


@settings(max_examples=200)
@given(st.text(MARKS, max_size=80), st.integers(2, 40))
def test_wrapped_text_fits_and_is_whole(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert all(cell_len(line) <= width for line in lines)
    assert re.sub(r"\s", "", "".join(lines)) == re.sub(r"\s", "", text)


@settings(max_examples=200)
@given(columns_of, st.integers(1, 120), st.booleans())
def test_columns_have_the_room_or_none(columns: list[list[str]], room: int, whole: bool) -> None:
    widths = fit(columns, [whole] * len(columns), room)
    words = [[cell_len(word) for text in below for word in text.split()] for _, *below in columns]
    named = [max(map(cell_len, re.findall("[^_]*_+|[^_]+", name))) for name, *_ in columns]
    longest = [
        max(name, max(each, default=0) if whole else min(max(each, default=0), SHORT))
        for name, each in zip(named, words, strict=True)
    ]
    if widths is None:
        assert sum(longest) > room
        return
    assert sum(widths) <= room
    assert all(width >= least for width, least in zip(widths, longest, strict=True))
    lines = [[cell_len(line) for text in cells for line in text.splitlines()] for cells in columns]
    natural = [max(each, default=0) for each in lines]
    assert widths == natural or sum(natural) > room


def test_many_rows_are_laid_out_at_once(capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [_short(IDLE) | {"model": f"model_{n}"} for n in range(2000)]
    started = time.process_time()
    assert len(printed(rows, 130, capfd, monkeypatch)) > 2000
    assert time.process_time() - started < 10


def test_long_texts_are_laid_out_at_once() -> None:
    text = "0.57 (0.55 to 0.59) of calibration_in_the_large, " * 6
    columns = [[f"name_{n}", *[text[n:]] * 50] for n in range(13)]
    started = time.process_time()
    widths = fit(columns, [False] * 13, 200)
    assert widths is not None and sum(widths) == 200
    assert time.process_time() - started < 5
