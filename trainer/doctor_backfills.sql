-- Profiles whose backfill has not ended. Calls nothing; reads rescore.profiles.
SELECT pg_catalog.string_agg(profile, ', ' ORDER BY profile)
FROM rescore.profiles WHERE backfill_from IS NOT NULL
