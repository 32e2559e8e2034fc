"""A plot of the ratios, for the manual: light and dark, as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rescore.bench.results import Result

# The reader's font may be wider than the one the names were measured with.
PADDING = {"left": 50, "top": 5, "right": 20, "bottom": 5}
METRICS = {"per_second", "rows_per_second"}
THEMES = {"light": ("#1f2430", "#3465a4"), "dark": ("#e6e6e6", "#729fcf")}


def plot(results: list[Result], folder: Path) -> list[Path]:
    """Write ``ratios-light.svg`` and ``ratios-dark.svg``; nothing where altair is missing."""
    try:
        import altair
    except ImportError:
        return []
    rows = _rows(results)
    if not rows:
        return []
    paths = []
    for theme, (ink, fill) in THEMES.items():
        path = folder / f"ratios-{theme}.svg"
        _chart(altair, rows, ink, fill).save(str(path))
        paths.append(path)
    return paths


def _rows(results: list[Result]) -> list[dict[str, Any]]:
    """One bar a contender: the first conditions a work was measured under with 1 client."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for r in results:
        if r.metric in METRICS and r.ratio is not None:
            title = f"{r.work} (1 = {r.baseline})"
            entry = {"work": title, "contender": r.contender, "ratio": r.ratio}
            rows.setdefault((r.work, r.contender), entry)
    return list(rows.values())


def _chart(altair: Any, rows: list[dict[str, Any]], ink: str, fill: str) -> Any:
    """Bars on a logarithmic scale from the baseline: left of 1 is slower."""
    base = altair.Chart(altair.Data(values=rows))
    ratios = [row["ratio"] for row in rows]
    scale = altair.Scale(type="log", domain=[min(ratios) / 3, max(ratios) * 2], nice=False)
    ratio = altair.X("ratio:Q", scale=scale, title="rate, times the baseline's")
    contender = altair.Y("contender:N", sort=None, title=None)
    bars = base.mark_bar(color=fill).encode(x=ratio, x2=altair.datum(1), y=contender)
    label = altair.Text("ratio:Q", format=".2~g")
    numbers = [
        base.transform_filter(f"datum.ratio {side} 1")
        .mark_text(align=align, dx=dx, color=ink)
        .encode(x=ratio, y=contender, text=label)
        for side, align, dx in (("<", "right", -4), (">=", "left", 4))
    ]
    panel = altair.layer(bars, *numbers).properties(width=420)
    grouped = panel.facet(row=altair.Row("work:N", title=None, sort=None, header=_header(altair)))
    return (
        grouped.resolve_scale(y="independent")
        .configure(background="transparent", padding=PADDING)
        .configure_axis(labelLimit=300, labelColor=ink, titleColor=ink, gridOpacity=0.2)
        .configure_view(stroke=None)
        .configure_header(labelColor=ink)
    )


def _header(altair: Any) -> Any:
    return altair.Header(
        labelAngle=0, labelAnchor="start", labelOrient="top", labelFontWeight="bold"
    )
