-- One batch of a part of a sweep, with the part's totals so far. Calls rescore._sweep_step.
SELECT finished, looked, changed, locked, pause
FROM rescore._sweep_step(%(profile)s::text, %(max_age)s::interval, %(batch)s::int4, %(rate)s::float8, %(tolerance)s::float8, %(part)s::int4)
