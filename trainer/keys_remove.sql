-- Removes a registered key; no row when there is none of that name.
-- Calls: nothing. Tables: writes rescore.trusted_keys.
DELETE FROM rescore.trusted_keys WHERE name = %s RETURNING name
