-- Registers a public key; no row when its name or the key itself is there already.
-- Calls: nothing. Tables: writes rescore.trusted_keys.
INSERT INTO rescore.trusted_keys (name, public_key) VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING name
