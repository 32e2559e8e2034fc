-- Examples as one row: their fields in one column and their design rows in another, in binary form, so that nobody
-- reads number by number (trainer/loop/packed.py). Calls what `fields` and `designs` call; reads what the examples
-- read: learn_batch.sql, learn_tests.sql, learn_recent.sql.
SELECT coalesce(pg_catalog.bool_and({all_are}), true), {fields}, {designs}
FROM (
{examples}
) AS s
