-- The present of profiles whose clock is the session's.
-- Calls rescore.clock; reads no table.
SELECT rescore.clock()
