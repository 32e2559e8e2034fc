-- Begins a sweep by these server processes, or goes on with one cut short: about how many rows there are, and how many
-- parts. Calls rescore._sweep_begin.
SELECT expected, parts
FROM rescore._sweep_begin(%(profile)s::text, %(max_age)s::interval, %(batch)s::int4, %(rate)s::float8, %(tolerance)s::float8, %(restart)s::bool,
                          %(pids)s::int4[])
