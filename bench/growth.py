"""What an event costs as profiles, features, categories and models grow."""

from __future__ import annotations

from collections.abc import Iterator

from rescore.bench import shop
from rescore.bench.pgbench import measured
from rescore.bench.results import Samples
from rescore.bench.scale import Scale
from rescore.bench.sites import Site
from rescore.server.private import Server


def growth(samples: Samples, server: Server, scale: Scale) -> Iterator[str]:
    """Measure single inserts over sizes, each beside the smallest; yield what is being done."""
    for work, names in axes(server, scale).items():
        yield f"growth: {work}"
        smallest = next(iter(names))
        built = {name: site.build() for name, site in names.items()}
        for _ in range(scale.rounds):
            for name, site in built.items():
                samples.add(f"growth: {work}", name, _cost(site, scale), baseline=smallest)
        for site in built.values():
            site.drop()


def axes(server: Server, scale: Scale) -> dict[str, dict[str, Site]]:
    """Return sites by what grows and how far it has grown; 8 features, one model if not said."""
    few = scale.growth_profiles[0]

    def site(features: int = 8, models: int = 1, profiles: int = few, categories: int = 0) -> Site:
        return Site("rescore", server, features, models, profiles, categories)

    made = {
        "profiles": {f"{n:,} profiles": site(profiles=n) for n in scale.growth_profiles},
        "features": {f"{n} features": site(features=n) for n in scale.growth_features},
        "models": {f"{n} models": site(features=20, models=n) for n in scale.growth_models},
    }
    if many := scale.categories:
        made["one-hot"] = {"no categories": site(), f"{many} categories": site(categories=many)}
    return made


def _cost(site: Site, scale: Scale) -> dict[str, float]:
    script = shop.statement("insert.pgbench.j2", profiles=site.profiles).decode()
    options = "-c synchronous_commit=off"
    found = measured(site, script, clients=1, seconds=scale.seconds, options=options)
    return {name: found[name] for name in ("p50_us", "server_cpu_us", "wal_bytes")}
