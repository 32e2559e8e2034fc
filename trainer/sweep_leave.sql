-- Lets others go on with a sweep that is stopped. Calls rescore._sweep_leave.
SELECT rescore._sweep_leave(%(profile)s::text)
