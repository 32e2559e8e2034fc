-- Customers whose profile row was deleted while their events stayed, and who come back.
-- Calls rescore_compiled.S__come_back, which writes the profile table as its owner. Reads
-- rescore.profiles. Called by the deferred trigger on rescore.removed_keys.

CREATE OR REPLACE FUNCTION rescore._come_back()
RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off
AS $rescore$
DECLARE
    p    rescore.profiles;
    name text;
BEGIN
    SELECT * INTO p FROM rescore.profiles AS q WHERE q.profile = OLD.profile;
    IF FOUND THEN
        name := format('rescore_compiled.%I', p.slug || '__come_back');
        -- Profiles applied by a version that had none: until the next apply.
        name := CASE WHEN to_regproc(name) IS NULL THEN format('rescore_compiled.%I', p.slug || '__recompute') ELSE name END;
        EXECUTE format('SELECT %s(ARRAY[$1::%s])', name, p.key_type) USING OLD.key;
    END IF;
    RETURN NULL;
END
$rescore$;

COMMENT ON FUNCTION rescore._come_back() IS
    'Trigger, at commit: recounts a customer who came back after their profile row had been deleted. At commit, because several triggers of one statement may each bring a part of the events.';

DO $do$
BEGIN
    -- There is no CREATE OR REPLACE for constraint triggers.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger AS t
                   WHERE t.tgrelid = 'rescore.removed_keys'::pg_catalog.regclass AND t.tgname = 'come_back') THEN
        CREATE CONSTRAINT TRIGGER come_back AFTER DELETE ON rescore.removed_keys
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION rescore._come_back();
    END IF;
    -- Also where a subscription brought the event; nothing is deleted here while a dump is restored.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger AS t
                   WHERE t.tgrelid = 'rescore.removed_keys'::pg_catalog.regclass AND t.tgname = 'come_back' AND t.tgenabled = 'A') THEN
        ALTER TABLE rescore.removed_keys ENABLE ALWAYS TRIGGER come_back;
    END IF;
END
$do$;

COMMENT ON TRIGGER come_back ON rescore.removed_keys IS
    'Recounts, at commit, a customer who came back.';
