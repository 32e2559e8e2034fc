-- Examples, part after part, as rows of one answer: the server asks nobody where the next begins, and puts it together in
-- the memory the last one had. Where a part ends is read from the bytes of its last row ({ids}, {xids}: where, from the end;
-- {first}, {step}: how far the first byte is shifted, and how much further the next) and stands in rescore.read_to until
-- the statement ends; behind an empty one there is nothing. Calls what learn_page.sql calls; reads what it reads.
SELECT p.whole, p.fields, p.designs
FROM pg_catalog.generate_series(1, {parts}) AS n (part)
CROSS JOIN LATERAL (
    SELECT q.whole, q.fields, q.designs,
           pg_catalog.set_config('rescore.read_to', coalesce(e.xid || ' ' || e.id, '18446744073709551615 0'), true)
    FROM (
{page}
    ) AS q (whole, fields, designs)
    CROSS JOIN LATERAL (
        SELECT pg_catalog.bit_or(pg_catalog.get_byte(q.fields, pg_catalog.length(q.fields) - {xids} + b.n)::pg_catalog.int8 << {first} + {step} * b.n),
               pg_catalog.bit_or(pg_catalog.get_byte(q.fields, pg_catalog.length(q.fields) - {ids} + b.n)::pg_catalog.int8 << {first} + {step} * b.n)
        FROM pg_catalog.generate_series(0, 7) AS b (n)
    ) AS e (xid, id)
) AS p
