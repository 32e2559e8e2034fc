"""A plot of the contenders, week by week, for the manual: light and dark, as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rescore.errors import NotInstalled
from rescore.examples.cdnow.contenders import LOOP, MONTHLY, NEVER

THEMES = {"light": "#1f2430", "dark": "#e6e6e6"}
COLOURS = {LOOP: "#3465a4", MONTHLY: "#e08a1e", NEVER: "#8a8f98"}
PANELS = {"auc": "AUC: more is better", "log_loss": "log loss: less is better"}
TITLE = f"by week, less what the version {NEVER} has"


def plot(weekly: list[dict[str, Any]], folder: Path) -> list[Path]:
    """Write ``loop-light.svg`` and ``loop-dark.svg``.

    Parameters
    ----------
    weekly: ``week``, ``contender``, ``auc`` and ``log_loss`` of each.

    Raises
    ------
    NotInstalled: altair is not.
    """
    try:
        import altair
    except ImportError as error:
        raise NotInstalled("no plot without altair", hint="pip install 'rescore[bench]'") from error
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for theme, ink in THEMES.items():
        path = folder / f"loop-{theme}.svg"
        _chart(altair, weekly, ink).save(str(path))
        paths.append(path)
    return paths


def _chart(altair: Any, weekly: list[dict[str, Any]], ink: str) -> Any:
    rows = gains(weekly)
    panels = [_panel(altair, rows, name, title) for name, title in PANELS.items()]
    return (
        altair.vconcat(*panels, title=TITLE)
        .configure(background="transparent")
        .configure_axis(labelColor=ink, titleColor=ink, gridOpacity=0.2)
        .configure_view(stroke=None)
        .configure_title(color=ink, fontWeight="normal")
        .configure_legend(
            labelColor=ink, orient="top", title=None, labelLimit=300, columnPadding=40
        )
    )


def gains(weekly: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each week's numbers less those of the version that is never trained again.

    The weeks differ far more from each other than the contenders do.
    """
    base = {row["week"]: row for row in weekly if row["contender"] == NEVER}
    return [
        {**row, **{name: row[name] - base[row["week"]][name] for name in PANELS}} for row in weekly
    ]


def _panel(altair: Any, rows: list[dict[str, Any]], name: str, title: str) -> Any:
    scale = altair.Scale(domain=list(COLOURS), range=list(COLOURS.values()))
    return (
        altair.Chart(altair.Data(values=rows))
        .mark_line(strokeWidth=2)
        .encode(
            x=altair.X("week:T", title="week in which the score was given"),
            y=altair.Y(f"{name}:Q", title=title),
            color=altair.Color("contender:N", scale=scale),
        )
        .properties(width=560, height=180)
    )
