-- What is kept out of learning, and why. Calls nothing; reads rescore.quarantined.
SELECT q.model, q.reason, q.snapshots, q.first_at, q.last_at FROM rescore.quarantined AS q ORDER BY q.model, q.last_at DESC, q.reason
