-- The registered keys, and how many versions each has signed.
-- Calls: nothing. Tables: reads rescore.trusted_keys, rescore.models.
SELECT k.name, k.public_key, k.added_at, k.added_by,
       (SELECT count(*) FROM rescore.models AS m WHERE m.signed_by = k.name) AS versions
FROM rescore.trusted_keys AS k ORDER BY k.name
