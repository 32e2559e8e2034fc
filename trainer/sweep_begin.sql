-- Begins a sweep, or goes on with one cut short; about how many rows. Calls rescore._sweep_begin.
SELECT rescore._sweep_begin(%(profile)s::text, %(max_age)s::interval, %(batch)s::int4, %(rate)s::float8, %(tolerance)s::float8, %(restart)s::bool)
