"""What must change for a database to be at a definition."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from rescore.compiler import render
from rescore.compiler.build import Tables
from rescore.compiler.catalog import Table
from rescore.compiler.definition import Definition
from rescore.compiler.meanings import models_left, new_meanings, new_terms, rescored_by
from rescore.compiler.notes import notes
from rescore.compiler.opening import days, opening_sql, undone_states
from rescore.compiler.outbox import trigger_names
from rescore.compiler.present import has_functions, has_triggers, parts_come, shapes, triggers_on
from rescore.compiler.profile import Profile
from rescore.compiler.quoting import ident, short
from rescore.compiler.replication import always_fired
from rescore.compiler.scored import COMPILED

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Plan:
    """What ``apply`` would do, or did.

    Attributes
    ----------
    profile: the resolved profile.
    sql: the statements, in order; empty when the database is already there.
    changes: one line each, for people.
    notes: what the user should know (columns left behind, customers not created, …).
    indexes: statements that create missing indexes, run before the transaction.
    backfill: whether stored values must be recounted afterwards.
    locks: tables and the mode they are locked in while the statements run.
    keep: whether what is kept of the definition differs; with no statements, that is all there is
        to write, and nothing is locked.
    """

    profile: Profile
    sql: str
    changes: list[str]
    notes: list[str]
    indexes: list[str]
    backfill: bool
    locks: list[tuple[str, str]]
    keep: bool
    stored: dict[str, Any] = field(default_factory=dict)

    @property
    def script(self) -> str:
        """All statements as one script, indexes first."""
        return "\n".join([*(f"{i};" for i in self.indexes), *([self.sql] if self.sql else [])])

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.sql or self.indexes or self.backfill or self.keep)


def _columns(profile: Profile) -> dict[str, str]:
    """The columns rescore keeps in the profile table, with their declarations."""
    found = {s.column: s.declaration for s in profile.states}
    found |= {d.column: d.declaration for d in profile.derived}
    found |= {s.opening: s.type for s in profile.openings}
    found |= {profile.treatment.column: profile.treatment.declaration} if profile.treatment else {}
    return found | {c: t for s in profile.scores for c, t in s.columns}


def _signatures(profile: Profile) -> dict[str, str]:
    """What each stored value is computed from; where this changes, it is recounted."""
    made = {
        s.column: repr((source.relation, source.key, source.join, s))
        for source in profile.sources
        for s in source.states
    }
    made |= {s.band_column: repr(s.bands) for s in profile.scores if s.bands}
    return made | {d.column: repr(d) for d in profile.derived}


def difference(
    conn: Connection,
    profile: Profile,
    definition: Definition,
    tables: Tables,
    old: dict[str, Any],
    drop: bool,
) -> Plan:
    """Compare the profile with what is stored and present; the result does nothing by itself."""
    columns, before = _columns(profile), old["plan"].get("columns", {})
    there = tables.profile.columns if tables.profile else {}
    retyped = [c for c, d in columns.items() if c in there and before.get(c, d) != d]
    missing = [(c, d) for c, d in columns.items() if c not in there or c in retyped]
    left = [c for c in before if c not in columns and c in there]
    table_sql = render.table(profile, missing, retyped).strip()
    # Last: triggers of the earlier definition may have conditions on these.
    drop_sql = render.table(profile, (), left).strip() if left and drop else ""
    functions, triggers = render.functions(profile), render.triggers(profile)
    kept = {**({} if drop else {c: before[c] for c in left}), **columns}
    stored = _stored(conn, profile, tables, kept, (functions, triggers))
    signatures = stored["states"]
    on = triggers_on(conn, profile, old["plan"])
    gone = _obsolete(on, old["plan"], stored)
    watched = has_triggers(conn, stored, old["plan"], profile) and not parts_come(conn, profile)
    known = old["plan"].get("states", {}) if watched and _is_at(profile, old) else {}
    added = {c for c, _ in missing}
    undone = undone_states(profile, old["plan"])
    stale = sorted(c for c in signatures if signatures[c] != known.get(c) or c in added | undone)
    rescored = rescored_by(definition, old["definition"], before)
    openings = _openings(profile, signatures, added, old)
    fresh = (
        bool(openings)
        or any(stored[k] != old["plan"].get(k) for k in ("code", "tables"))
        or not watched
        or not has_functions(conn, stored)
    )
    altered = bool(table_sql or drop_sql)
    writes = bool(fresh or altered or gone or stale)
    keep = writes or _says_more(definition, stored, old)
    dropped = [*retyped, *(left if drop else ())]
    changes = _changes(profile, missing, dropped, [c for c in stale if c not in added], rescored)
    changes += ["write functions and triggers"] if fresh or altered or gone else []
    changes += ["keep what the definition says; functions stay"] if keep and not writes else []
    indexes = _indexes(profile)
    return Plan(
        profile=profile,
        sql="\n".join(filter(None, (table_sql, openings, gone, functions, triggers, drop_sql)))
        if writes
        else "",
        changes=changes + [f"create an index: {i}" for i in indexes if i.startswith("CREATE")],
        notes=notes(profile, [] if drop else left)
        + new_meanings(profile, definition, stale, old, stored["tables"])
        + models_left(definition, old["definition"])
        + new_terms(definition, old["definition"], tables.serving),
        indexes=indexes,
        backfill=bool(stale or rescored) or old["backfill_from"] is not None,
        locks=_locks(profile, on, stored, altered),
        keep=keep,
        stored=stored,
    )


def _says_more(definition: Definition, stored: dict[str, Any], old: dict[str, Any]) -> bool:
    """Whether a definition says what was not applied yet.

    Not all of it is part of a function: how models learn, when snapshots are due.
    """
    same = definition.to_json() == old["definition"]
    return not same or bool(stored["digest"] != old["plan"].get("digest"))


def _stored(
    conn: Connection,
    profile: Profile,
    tables: Tables,
    columns: dict[str, Any],
    written: tuple[str, str],
) -> dict[str, Any]:
    """What is kept of the plan: what the next one, and those who read it, compare with."""
    functions, triggers = written
    return {
        "columns": columns,
        "states": _signatures(profile),
        "functions": _function_names(functions),
        "triggers": _trigger_names(profile),
        "tables": shapes(conn, profile),
        "days": days(profile),
        "always": [name for _, _, name in always_fired(profile)],
        "unknown_past": list(profile.unknown_past),
        "labels": {
            o.name: {
                "seconds": o.horizon.total_seconds(),
                "early": o.known_early,
                **({"number": True} if o.amount else {}),
            }
            for o in profile.outcomes
        },
        "reads": [[t.schema, t.name] for t in _read_only(profile, tables)],
        "values": {
            i.name: i.argument(lambda c: f"p.{ident(c)}", "rescore_v_clock") for i in profile.inputs
        },
        "code": hashlib.sha256((functions + triggers).encode()).hexdigest(),
        "digest": hashlib.sha256(
            (functions + triggers + _models_text(profile)).encode()
        ).hexdigest(),
    }


def _changes(
    profile: Profile,
    missing: Sequence[tuple[str, str]],
    dropped: Sequence[str],
    recounted: Sequence[str],
    rescored: Sequence[str],
) -> list[str]:
    """One line each of what becomes of the profile's columns."""
    changes = [f"create table {profile.relation}"] if not profile.exists else []
    changes += [f"drop column {c}" for c in dropped]
    changes += [f"add column {c} {d}" for c, d in missing if profile.exists]
    changes += [f"recount {c} from its events" for c in recounted]
    return changes + [f"score {c} anew" for c in rescored]


def _openings(
    profile: Profile, signatures: dict[str, str], added: set[str], old: dict[str, Any]
) -> str:
    """SQL that keeps what the events of a time that is gone had made."""
    if not _is_at(profile, old):
        return ""
    known = old["plan"].get("states", {})
    same = [c for c in signatures if signatures[c] == known.get(c) and c not in added]
    return opening_sql(profile, old["plan"], same)


def _models_text(profile: Profile) -> str:
    return repr(
        [(m.name, m.engine, sorted(m.spec.items(), key=str), m.inputs) for m in profile.models]
    )


def _function_names(sql: str) -> list[str]:
    pattern = rf'^CREATE OR REPLACE FUNCTION "?{COMPILED}"?\."((?:[^"]|"")+)"\('
    return sorted({n.replace('""', '"') for n in re.findall(pattern, sql, flags=re.MULTILINE)})


def _trigger_names(profile: Profile) -> list[list[str]]:
    found = [
        [s.table.schema, s.table.name, profile.trigger(s, op)]
        for s in profile.sources
        for op in render.OPERATIONS
    ]
    found += [
        [k.table.schema, k.table.name, profile.link_trigger(k, op)]
        for k in profile.links
        if any(s.link is k for s in profile.sources)
        for op in render.OPERATIONS
    ]
    own = [*profile.own_triggers.values(), *trigger_names(profile).values()]
    return found + [[profile.schema, profile.table, n] for n in own]


def _obsolete(on: list[list[str]], old: dict[str, Any], new: dict[str, Any]) -> str:
    """SQL that drops triggers and functions an earlier definition needed."""
    lines = [
        f"DROP TRIGGER IF EXISTS {ident(t[2])} ON {ident(t[0], t[1])};"
        for t in on
        if t not in new["triggers"]
    ]
    lines += [
        f"DROP FUNCTION IF EXISTS {ident(COMPILED, f)};"
        for f in old.get("functions", [])
        if f not in new["functions"]
    ]
    return "\n".join(lines)


def _read_only(profile: Profile, tables: Tables) -> list[Table]:
    """Tables without triggers: of labels, of treatments, and events that only labels look at."""
    counted = {source.name for source in profile.sources}
    return [*tables.beside, *(t for name, t in tables.events.items() if name not in counted)]


def _is_at(profile: Profile, old: dict[str, Any]) -> bool:
    """Whether the profile is still the table it was."""
    return profile.exists and old["table"] == (profile.schema, profile.table)


def _locks(
    profile: Profile, on: list[list[str]], new: dict[str, Any], alters: bool
) -> list[tuple[str, str]]:
    """Tables to lock and how, strongest at once: one raised later could deadlock with a reader.

    Event tables first, the profile last: the order in which an insert of an event takes them.
    """
    watched = [s.relation for s in profile.sources] + [k.relation for k in profile.links]
    modes = dict.fromkeys(sorted(watched), "SHARE ROW EXCLUSIVE")
    for schema, table, name in on:
        if [schema, table, name] not in new["triggers"]:
            modes[ident(schema, table)] = "ACCESS EXCLUSIVE"
    own = modes.pop(profile.relation, "SHARE ROW EXCLUSIVE")
    if profile.exists:
        modes[profile.relation] = "ACCESS EXCLUSIVE" if alters else own
    return list(modes.items())


def _indexes(profile: Profile) -> list[str]:
    """Statements for missing indexes: on event keys, and on the customer of a link."""
    wanted = [(s.table, s.index_columns) for s in profile.sources if s.index]
    wanted += [(k.table, (k.gives,)) for k in profile.links]
    found = [
        statement
        for table, columns in wanted
        if not table.indexed_by(*columns)
        for statement in _index(table, columns)
    ]
    return list(dict.fromkeys(found))


def _index(table: Table, columns: Sequence[str]) -> list[str]:
    """Statements that create an index while events go on being written.

    That of a partitioned table would lock all of it: made of its partitions' indexes, it is there
    at once.
    """
    own = (table.schema, table.name)
    names = {
        of: short(f"{of[1]}_{'_'.join(columns)}_rescore_idx", 63) for of in (*table.parts, own)
    }
    cut_short = [(of[0], name) for of, name in names.items() if (of[0], name) in table.broken]
    made = [f"DROP INDEX CONCURRENTLY IF EXISTS {ident(*index)}" for index in cut_short]
    for of, name in names.items():
        how = "" if of == own and table.kind == "p" else "CONCURRENTLY "
        keys = ", ".join(map(ident, columns))
        made.append(f"CREATE INDEX {how}IF NOT EXISTS {ident(name)} ON {ident(*of)} ({keys})")
    return made
