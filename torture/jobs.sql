-- What goes on beside the clients. Calls: rescore.rollback, rescore.sweep, rescore.fold.
-- Tables: reads rescore.profiles; the procedures write the profile and the queue.

-- name: rollback
SELECT rescore.rollback(%s)

-- name: sweep
CALL rescore.sweep(%s, batch => %s)

-- name: fold
CALL rescore.fold(%s, %s)

-- name: takes_rounds
-- Whether rounds of snapshots are taken of a profile.
SELECT coalesce(p.definition -> 'snapshot' ? 'every', false) FROM rescore.profiles AS p WHERE p.profile = %s
