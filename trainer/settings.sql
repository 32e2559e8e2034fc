-- Sets how values are written, whatever database and role are set to: the driver reads moments in ISO only, and
-- numbers as exactly as they are told. Calls nothing; reads no table.
SELECT pg_catalog.set_config(s.name, s.wanted, false)
FROM (VALUES ('DateStyle', 'ISO'), ('IntervalStyle', 'postgres'), ('extra_float_digits', '1'), ('standard_conforming_strings', 'on'),
             ('quote_all_identifiers', 'off'), ('array_nulls', 'on')) AS s (name, wanted)
