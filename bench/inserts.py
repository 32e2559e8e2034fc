"""Inserting events one by one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from rescore.bench import shop, worker
from rescore.bench.context import Context
from rescore.bench.pgbench import SLOW_RATE, Measures, measured
from rescore.bench.sites import MIXED, Site

WORK = "single inserts"
BARE = "bare"
BASELINE = "counter"
PLAIN = (BARE, BASELINE, "tutorial", "worker", "worker by hand")
# A millisecond an event: counted, since nobody knows how long their sessions import.
SLOW = ("tutorial",)


def contenders(context: Context) -> list[Site]:
    """Build what inserts are measured on: each contender with each number of features."""
    made = []
    for features in context.scale.features:
        made += [context.site(name, features) for name in PLAIN]
        made += [context.site("rescore", features, models=m) for m in context.scale.models]
        if features > len(shop.MIXED):
            made.append(context.site(MIXED, features))
    return [context.built(site) for site in made]


def single(context: Context) -> Iterator[str]:
    """Measure single-row inserts; yield what is being done."""
    yield "building the contenders"
    sites = contenders(context)
    scale = context.scale
    for turn in context.turns():
        for commit, clients in product(scale.commits, scale.clients):
            yield f"{clients} clients, synchronous_commit {commit}, turn {turn + 1}"
            found = {
                site: _single(site, scale.seconds, clients, commit) for site in rotated(sites, turn)
            }
            conditions = {"clients": clients, "synchronous_commit": commit}
            for site, measures in found.items():
                measures |= _added(measures, found[_bare(site, sites)])
                where = {"features": site.features} | conditions
                context.add(WORK, site.label, measures, BASELINE, **where)
        vacuum(sites)


def _single(site: Site, seconds: float, clients: int, commit: str) -> Measures:
    how: dict[str, Any] = {"clients": clients, "options": f"-c synchronous_commit={commit}"}
    if site.contender.startswith("worker"):
        return worker.measured(site, seconds=seconds, **how)
    script = shop.statement("insert.pgbench.j2", profiles=site.profiles).decode()
    if site.contender not in SLOW:
        return measured(site, script, seconds=seconds, **how)
    found = measured(site, script, transactions=int(seconds * SLOW_RATE), **how)
    del found["server_cpu_us"]  # mostly the loading of scikit-learn
    return found


def _bare(site: Site, sites: list[Site]) -> Site:
    """Return the site of the bare table with as many features."""
    return next(s for s in sites if (s.contender, s.features) == (BARE, site.features))


def _added(measures: Measures, bare: Measures) -> Measures:
    """Return the latency added to an insert into the bare table, in the same turn."""
    return {f"added_{name}": measures[name] - bare[name] for name in ("p50_us", "p99_us")}


def rotated(sites: list[Site], turn: int) -> list[Site]:
    """Each turn begins with another contender: what drifts does not always hit the same."""
    start = turn * 3 % len(sites)
    return sites[start:] + sites[:start]


def vacuum(sites: list[Site]) -> None:
    """Make room again, in every contender's tables."""
    for site in sites:
        with site.connect() as conn:
            conn.execute("VACUUM orders, customer_profile")
