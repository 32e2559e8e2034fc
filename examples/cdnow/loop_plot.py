"""A plot of the contenders, week by week, for the manual: light and dark, as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rescore.errors import NotInstalled
from rescore.examples.cdnow.contenders import LOOP, MONTHLY, NEVER

THEMES = {"light": "#1f2430", "dark": "#e6e6e6"}
COLOURS = {LOOP: "#3465a4", MONTHLY: "#e08a1e", NEVER: "#8a8f98"}
PANELS = {"auc": "AUC", "log_loss": "log loss"}


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
    panels = [_panel(altair, weekly, name, title) for name, title in PANELS.items()]
    return (
        altair.vconcat(*panels)
        .configure(background="transparent")
        .configure_axis(labelColor=ink, titleColor=ink, gridOpacity=0.2)
        .configure_view(stroke=None)
        .configure_legend(labelColor=ink, orient="top", title=None, labelLimit=300)
    )


def _panel(altair: Any, weekly: list[dict[str, Any]], name: str, title: str) -> Any:
    scale = altair.Scale(domain=list(COLOURS), range=list(COLOURS.values()))
    return (
        altair.Chart(altair.Data(values=weekly))
        .mark_line(strokeWidth=2)
        .encode(
            x=altair.X("week:T", title="week in which the score was given"),
            y=altair.Y(f"{name}:Q", title=title, scale=altair.Scale(zero=False)),
            color=altair.Color("contender:N", scale=scale),
        )
        .properties(width=560, height=180)
    )
