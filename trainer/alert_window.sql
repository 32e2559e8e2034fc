-- Since when snapshots count, and the share of what was logged since then (percent) that is no more than so many bytes.
-- Calls rescore._clock_of; reads pg_inherits, pg_class.
SELECT w.since, least(100.0, 100.0 * %(bytes)s / greatest(
           (SELECT pg_catalog.sum(pg_catalog.pg_relation_size(c.oid))
            FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
            WHERE i.inhparent = 'rescore.snapshots'::pg_catalog.regclass
              AND c.relname >= 'snapshots_' || pg_catalog.to_char(w.since AT TIME ZONE 'UTC', 'YYYY_MM')), 1))::pg_catalog.float8
FROM (SELECT rescore._clock_of(%(model)s) - %(within)s::pg_catalog.interval AS since) AS w
