-- An array as it stands in memory: its first four bytes are the number 1. Calls rescore._joined; reads no table.
SELECT rescore._joined(ARRAY[0]::pg_catalog.float8[], NULL)
