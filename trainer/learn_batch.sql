-- The next examples after a position, in the order in which they were resolved. What resolved them
-- has ended for everybody (`bound`), so that nothing can come between any more. All columns have one
-- length, so that the answer is read without a loop: see trainer/loop/block.py. The key is hashed here
-- as rescore.share does, of which the first 52 bits are the share.
-- Calls nothing; reads rescore.snapshots and rescore.released.
SELECT pg_catalog.substr(pg_catalog.sha256(pg_catalog.convert_to({salt} || ':' || s.key, 'UTF8')), 1, 8), s.id, s.resolved, pg_catalog.date_part('epoch', s.taken_at),
       pg_catalog.date_part('epoch', s.due_at), coalesce(s.label, 0), coalesce(s.score, 'NaN'),
       EXISTS (SELECT FROM rescore.released AS r WHERE r.model = s.model AND r.id = s.id), coalesce(s.holdout, false), s.treated_at IS NOT NULL, s.design
FROM rescore.snapshots AS s
WHERE s.model = {model} AND (s.resolved, s.id) > ({xid}::text::pg_catalog.xid8, {id}::pg_catalog.int8) AND s.resolved < {bound}::text::pg_catalog.xid8
  AND s.resolved IS NOT NULL AND (s.label IS NOT NULL OR NOT {labelled}) AND NOT s.censored AND s.quarantined IS NULL AND (s.treated_at IS NULL OR {weigh})
  AND s.version = ANY ({versions}) AND s.taken_at > {after}
ORDER BY s.resolved, s.id LIMIT {size}
