-- Models whose early outcomes and corrections are to be looked for. Calls rescore._check_due.
SELECT d.model FROM rescore._check_due(%s::pg_catalog.text) AS d (model)
