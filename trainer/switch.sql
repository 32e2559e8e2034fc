-- Does what a rule has decided, if the champion is still the one it was decided about; else nothing.
-- Calls rescore.promote, rescore.challenge, rescore.demote, rescore.rollback; reads rescore.deployments.
SELECT CASE %(action)s::pg_catalog.text
           WHEN 'promote' THEN rescore.promote(d.model, %(version)s::int4, %(reason)s::text, %(details)s::jsonb)
           WHEN 'challenge' THEN rescore.challenge(d.model, %(version)s::int4, %(share)s::float8, %(reason)s::text, %(details)s::jsonb)
           WHEN 'demote' THEN rescore.demote(d.model, %(version)s::int4, %(reason)s::text, %(details)s::jsonb)
           WHEN 'rollback' THEN rescore.rollback(d.model, %(version)s::int4, %(reason)s::text, %(details)s::jsonb) END
FROM rescore.deployments AS d
WHERE d.model = %(model)s AND d.champion = %(champion)s
