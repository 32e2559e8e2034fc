-- The expressions of a contract's design row, in order.
-- Calls rescore._columns; reads no table.
SELECT c.column_name, c.expression
FROM rescore._columns(%s) AS c
ORDER BY c.position
