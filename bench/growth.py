"""What an event costs as profiles, features, categories, models and a hot key's share grow."""

from __future__ import annotations

from collections.abc import Iterator

from rescore.bench import shop
from rescore.bench.context import Context
from rescore.bench.pgbench import Measures, measured
from rescore.bench.sites import Site

KEPT = ("per_second", "p50_us", "p99_us", "server_cpu_us", "wal_bytes", "hot_share", "lock_waits")
OPTIONS = "-c synchronous_commit=off"
HOT_CLIENTS = 4
# A database larger than this is dropped when its work is done.
LARGE = 1_000_000


def profiles(context: Context) -> Iterator[str]:
    """Measure single inserts over sizes of the profile table; yield what is being done."""
    counts = context.scale.growth_profiles
    sites = {f"{n:,} profiles": context.site("rescore", profiles=n) for n in counts}
    yield from _grown(context, "profiles", sites)
    for site in sites.values():
        if site.profiles > LARGE:
            context.drop(site)


def features(context: Context) -> Iterator[str]:
    """Measure them over numbers of features; yield what is being done."""
    counts = context.scale.growth_features
    sites = {f"{n} features": context.site("rescore", n, profiles=_few(context)) for n in counts}
    yield from _grown(context, "features", sites)


def models(context: Context) -> Iterator[str]:
    """Measure them over numbers of models at 20 features; yield what is being done."""
    sites = {
        f"{n} model{'s' * (n > 1)}": context.site("rescore", 20, models=n, profiles=_few(context))
        for n in context.scale.growth_models
    }
    yield from _grown(context, "models", sites)


def categories(context: Context) -> Iterator[str]:
    """Measure them with and without a one-hot column; yield what is being done."""
    counts = (0, context.scale.categories)
    sites = {
        f"{n or 'no'} categories": context.site("rescore", profiles=_few(context), categories=n)
        for n in counts
    }
    yield from _grown(context, "one-hot", sites)


def hot_key(context: Context) -> Iterator[str]:
    """Measure several clients with a share of the events at one customer; yield what is done."""
    sites = [
        context.built(context.site(name, profiles=_few(context))) for name in ("counter", "rescore")
    ]
    shares = context.scale.hot_shares
    for turn in context.turns():
        yield f"hot key, turn {turn + 1}"
        for site, share in ((site, share) for share in shares for site in sites):
            script = _hot_script(site, share)
            found = _cost(site, script, context.scale.seconds, HOT_CLIENTS)
            where = {"hot_share_of_events": share, "clients": HOT_CLIENTS}
            context.add("growth: hot key", site.contender, found, "counter", **where)
            _vacuum(site)


def _few(context: Context) -> int:
    return context.scale.growth_profiles[0]


def _grown(context: Context, axis: str, sites: dict[str, Site]) -> Iterator[str]:
    for name, site in sites.items():
        yield f"building {name}"
        context.built(site)
    smallest = next(iter(sites))
    for turn in context.turns():
        yield f"turn {turn + 1}"
        for name, site in sites.items():
            script = shop.statement("insert.pgbench.j2", profiles=site.profiles).decode()
            measures = _cost(site, script, context.scale.seconds, 1)
            context.add(f"growth: {axis}", name, measures, smallest)


def _hot_script(site: Site, share: float) -> str:
    """Every customer evenly, but for this share of the events, which are one customer's."""
    text = shop.statement("hot.pgbench.j2", profiles=site.profiles, per_mille=round(share * 1000))
    return text.decode()


def _cost(site: Site, script: str, seconds: float, clients: int) -> Measures:
    found = measured(site, script, clients=clients, seconds=seconds, options=OPTIONS)
    return {name: found[name] for name in KEPT if name in found}


def _vacuum(site: Site) -> None:
    with site.connect() as conn:
        conn.execute("VACUUM customer_profile")
