-- Keeps a judgement, in place of the one before, which stays where none of its snapshots is kept any longer; what
-- changed of its outcomes is counted in. Calls rescore._clock_of; writes rescore.judgements, rescore.relabelled.
WITH counted AS (
    DELETE FROM rescore.relabelled AS r
    WHERE r.model = %(model)s AND r.version = %(version)s AND r.xid <= %(resolved)s::pg_catalog.text::pg_catalog.xid8
)
INSERT INTO rescore.judgements AS j (model, version, period, snapshots, open, examples, customers, metric, metrics, against, gain, verdict, resolved, at)
VALUES (%(model)s, %(version)s, %(period)s, %(snapshots)s, %(open)s, %(examples)s, %(customers)s, %(metric)s, %(metrics)s, %(against)s, %(gain)s, %(verdict)s,
        %(resolved)s::pg_catalog.text::pg_catalog.xid8, rescore._clock_of(%(model)s))
ON CONFLICT ON CONSTRAINT judgements_pkey DO UPDATE
SET period = excluded.period, snapshots = excluded.snapshots, open = excluded.open, examples = excluded.examples, customers = excluded.customers,
    metric = excluded.metric, metrics = excluded.metrics, against = excluded.against, gain = excluded.gain, verdict = excluded.verdict,
    resolved = excluded.resolved, at = excluded.at
WHERE excluded.snapshots > 0
