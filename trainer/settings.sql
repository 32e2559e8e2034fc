-- Sets how values are written, whatever database and role are set to: the driver reads moments in ISO only, and
-- numbers as exactly as they are told. And lets statements take their time: what databases and roles are given for the
-- queries of applications is no measure of work that is done in batches; what the connection string says holds.
-- Without jit: to compile what reads examples takes 40 ms for each 40,000 of them, as long as reading them.
-- Calls nothing; reads pg_settings.
SELECT pg_catalog.set_config(s.name, s.wanted, false)
FROM (VALUES ('DateStyle', 'ISO'), ('IntervalStyle', 'postgres'), ('extra_float_digits', '1'), ('standard_conforming_strings', 'on'),
             ('quote_all_identifiers', 'off'), ('array_nulls', 'on'), ('jit', 'off')) AS s (name, wanted)
UNION ALL
SELECT pg_catalog.set_config(t.name, '0', false)
FROM pg_catalog.pg_settings AS t
WHERE t.name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')
  AND t.setting <> '0' AND t.source <> 'client'
