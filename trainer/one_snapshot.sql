-- All statements of the transaction see the same; first in it. Calls nothing; reads no table.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY
