"""Reading one customer's score."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rescore.bench import shop
from rescore.bench.context import Context
from rescore.bench.pgbench import Measures, measured
from rescore.bench.reading import big
from rescore.bench.sites import Site

BASELINE = "point SELECT"
SCRIPTS = {BASELINE: "point", "predict_key": "predict_key", "predict_payload": "payload"}
Contender = Callable[[Site, float], Measures]


def by_key(context: Context) -> Iterator[str]:
    """Measure it in the database and by services over HTTP; yield what is being done."""
    yield f"building {context.scale.scanned:,} profiles"
    site = big(context)
    for turn in context.turns():
        yield f"by key, turn {turn + 1}"
        for contender, measure in _contenders().items():
            found = measure(site, context.scale.seconds)
            kept = {k: found[k] for k in ("per_second", "p50_us", "p99_us")}
            context.add("by key", contender, kept, BASELINE)


def _contenders() -> dict[str, Contender]:
    in_server = {contender: _script(name) for contender, name in SCRIPTS.items()}
    return in_server | _services()


def _script(name: str) -> Contender:
    def measure(site: Site, seconds: float) -> Measures:
        script = shop.statement(f"{name}.pgbench.j2", profiles=site.profiles).decode()
        return measured(site, script, seconds=seconds)

    return measure


def _services() -> dict[str, Contender]:
    """Return the services; none where FastAPI is not installed."""
    try:
        from rescore.bench import http_service
    except ImportError:
        return {}
    return {
        "HTTP service, scikit-learn": http_service.with_sklearn,
        "HTTP service, tuned by hand": http_service.by_hand,
    }
