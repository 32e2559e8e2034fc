"""Names and values that break what quotes them by hand, and a definition made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml
from hypothesis import strategies as st

FRAGMENTS = [
    "a", "B", " ", "_", "1", ".", ",", ";", "'", "''", '"', '""', "\\", "\\'", "`", "$", "$$", "$1",
    "$a$", "(", ")", "[", "]", "{", "}", "{{", "}}", "{{ 7 * 7 }}", "{% if x %}", "{# x #}", "{0}",
    "%", "%s", "%(x)s", "%%", "%I", "%L", ":x", "?", "--", "/*", "*/", "#", "&", "!", "=", "||",
    "select", "user", "table", "order", "end", "NULL", "é", "ß", "漢字", "☂", "🦆", "\u00a0",
    "'; DROP TABLE x; --", '"; DROP TABLE x; --', "x" * 40, "é" * 20,
]  # fmt: skip
# Refused in names; in values they are text like any other, but for NUL.
UNPRINTABLE = ["\n", "\t", "\r", "\x00", "\x07", "\x1b", "\u202e", "\u2066", "\u200b", "\ufeff", "\x7f"]  # fmt: skip
QUOTES = ["$rescore$", "\n$rescore$;\n", "\n$rescore$;\nDROP TABLE x;\nSELECT 1 AS $rescore$\n"]

words = st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=4).map("".join)
names = words.filter(lambda name: name.strip() == name and 0 < len(name.encode()) <= 40)
any_names = st.lists(st.sampled_from(FRAGMENTS + UNPRINTABLE + QUOTES), min_size=1, max_size=4).map(
    "".join
)
# PyYAML writes that one, the next line, so that it reads a space.
values = any_names | st.text(st.characters(exclude_characters="\x85"), max_size=5)


@dataclass(frozen=True)
class Names:
    """One name or value for every place of a definition that takes one."""

    schema: str
    profile: str
    orders: str
    visits: str
    sessions: str
    key: str
    time: str
    amount: str
    kind: str
    plan: str
    session: str
    link: str
    event: str
    other_event: str
    count: str
    total: str
    last: str
    plain: str
    label: str
    listed: str
    visits_by: str
    treated: str
    score: str
    value: str
    category: str

    @property
    def distinct(self) -> bool:
        """Whether no two things that must differ have one name."""
        columns = [self.key, self.time, self.amount, self.kind, self.plan, self.session]
        tables = [self.profile, self.orders, self.visits, self.sessions, self.visits_by]
        labels = [self.label, self.listed]
        treatment = [self.treated, self.time, self.kind]
        features = [self.count, self.total, self.last, self.plain, self.score, self.key, self.plan]
        events = [self.event, self.other_event]
        return all(
            len(set(each)) == len(each)
            for each in (columns, tables, features, events, labels, treatment)
        )

    def table(self, name: str) -> str:
        """The qualified name of a table as a definition writes it."""
        return ".".join('"' + part.replace('"', '""') + '"' for part in (self.schema, name))

    def definition(self) -> str:
        """A definition with all of them, as YAML."""
        quoted = self.value.replace("'", "''")
        column = self.kind.replace('"', '""')
        made: dict[str, Any] = {
            "profile": {
                "table": self.table(self.profile),
                "key": {"name": self.key, "type": "bigint"},
                "only": '"' + self.plan.replace('"', '""') + f"\" <> '{quoted}'",
                "history": {self.plan: "static"},
            },
            "links": {
                self.link: {
                    "table": self.table(self.sessions),
                    "on": self.session,
                    "gives": self.key,
                }
            },
            "events": {
                self.event: {"table": self.table(self.orders), "time": self.time},
                self.other_event: {
                    "table": self.table(self.visits),
                    "time": self.time,
                    "via": self.link,
                },
            },
            "features": {
                self.count: {
                    "from": self.event,
                    "count": True,
                    "where": f"\"{column}\" = '{quoted}'",
                },
                self.total: {"from": self.event, "sum": self.amount},
                self.last: {
                    "from": self.event,
                    "last": self.kind,
                    "one_hot": [self.category, "other one"],
                },
                self.plain: {"column": self.plan, "one_hot": [self.category + "!", "b"]},
                "visits": {"from": self.other_event, "count": True},
            },
            "labels": {
                self.label: {
                    "none": self.event,
                    "where": f"\"{column}\" = '{quoted}'",
                    "within": "30 days",
                    "censored_by": self.listed,
                },
                self.listed: {
                    "table": self.table(self.orders),
                    "key": self.key,
                    "at": self.time,
                    "known_at": self.time,
                    "where": f"\"{column}\" <> '{quoted}'",
                    "within": "10 days",
                },
            },
            "interventions": {
                "table": self.table(self.visits_by),
                "key": self.treated,
                "time": self.time,
                "where": f"\"{column}\" = '{quoted}'",
                "holdout": "5%",
            },
            "snapshot": {"every": "1 day", "share": "100%"},
            "models": {"m": {"label": self.label, "features": "all"}},
            "scores": {self.score: {"model": "m"}},
        }
        return str(yaml.safe_dump(made, allow_unicode=True, sort_keys=False))


def made_of(
    each: st.SearchStrategy[str], values: st.SearchStrategy[str]
) -> st.SearchStrategy[Names]:
    """Definitions whose names and values are drawn from these."""
    fields = [f for f in Names.__dataclass_fields__ if f not in ("value", "category")]
    drawn = dict.fromkeys(fields, each) | {"value": values, "category": values}
    return st.builds(Names, **drawn).filter(lambda names: names.distinct)


PLAIN = Names(**{f: f"the_{f}" for f in Names.__dataclass_fields__})
