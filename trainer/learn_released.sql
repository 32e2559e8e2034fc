-- Which of these snapshots somebody let out of quarantine. Calls nothing; reads rescore.released.
SELECT r.id FROM rescore.released AS r WHERE r.model = %s AND r.id = ANY (%s)
