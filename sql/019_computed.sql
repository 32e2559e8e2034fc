-- Arithmetic of computed features: defined for every number, it never raises.
-- Calls: nothing else. Tables: none.
--
-- Inside an expression a number is NULL, or finite and of magnitude up to 1e100. What would be larger is
-- capped; what is not defined is NULL. Factors, divisors and exponents are flushed: below 1.4e-160 they
-- round to 0, so that neither a product nor a quotient underflows, where PostgreSQL raises.
-- None has a SET clause: each is inlined where its arguments are cheap, and bound when it is created.

CREATE OR REPLACE FUNCTION rescore._capped(x double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1
-- Not least and greatest, which take no notice of NULL.
RETURN float8smaller(float8larger(x, '-1e100'::float8), '1e100'::float8);
COMMENT ON FUNCTION rescore._capped(double precision) IS 'A number, moved to -1e100 or 1e100 when beyond.';

CREATE OR REPLACE FUNCTION rescore._flushed(x double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1
-- Adding 1.5 * 2^-479 leaves multiples of 2^-531, and x stands here once: the function is always inlined.
RETURN (x + '9.609998856878884e-145'::float8) - '9.609998856878884e-145'::float8;
COMMENT ON FUNCTION rescore._flushed(double precision) IS 'A number, rounded to a multiple of 2^-531, which is 1.4e-160.';

CREATE OR REPLACE FUNCTION rescore._result(x double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1
-- 1.5 * 2^-280.
RETURN (x + '7.721336384202043e-85'::float8) - '7.721336384202043e-85'::float8;
COMMENT ON FUNCTION rescore._result(double precision) IS
    'The value of a computed feature, rounded to a multiple of 2^-332, which is 1.1e-100.';

CREATE OR REPLACE FUNCTION rescore._times(a double precision, b double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1
RETURN rescore._capped(rescore._flushed(a) * rescore._flushed(b));
COMMENT ON FUNCTION rescore._times(double precision, double precision) IS 'a * b, capped.';

CREATE OR REPLACE FUNCTION rescore._over(a double precision, b double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1
RETURN rescore._capped(rescore._flushed(a) / NULLIF(rescore._flushed(b), '0'::float8));
COMMENT ON FUNCTION rescore._over(double precision, double precision) IS 'a / b, capped; NULL when b is 0.';

CREATE OR REPLACE FUNCTION rescore._remainder(a double precision, b double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1
RETURN (rescore._flushed(a)::numeric % NULLIF(rescore._flushed(b), '0'::float8)::numeric)::float8;
COMMENT ON FUNCTION rescore._remainder(double precision, double precision) IS
    'What is left of a, to 15 digits, after division by b, to 15 digits; has the sign of a; NULL when b is 0.';

CREATE OR REPLACE FUNCTION rescore._power(a double precision, b double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1
RETURN CASE
    WHEN a IS NULL OR b IS NULL THEN NULL
    WHEN a = '0'::float8 THEN CASE WHEN b = '0'::float8 THEN '1'::float8 WHEN b > '0'::float8 THEN '0'::float8 END
    WHEN a < '0'::float8 AND b <> floor(b) THEN NULL
    WHEN rescore._flushed(b) * ln(abs(a)) < '-368'::float8 THEN '0'::float8
    WHEN rescore._flushed(b) * ln(abs(a)) > '230.25850929940457'::float8
        THEN CASE WHEN a < '0'::float8 AND b - '2'::float8 * floor(b / '2'::float8) = '1'::float8 THEN '-1e100'::float8 ELSE '1e100'::float8 END
    ELSE power(a, rescore._flushed(b)) END;
COMMENT ON FUNCTION rescore._power(double precision, double precision) IS
    'a to the power of b, capped; NULL for a negative power of 0 and a broken power of a negative number.';

CREATE OR REPLACE FUNCTION rescore._ln(x double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1
RETURN ln(NULLIF(float8larger(x, '0'::float8), '0'::float8));
COMMENT ON FUNCTION rescore._ln(double precision) IS 'The natural logarithm; NULL of 0 and below.';

CREATE OR REPLACE FUNCTION rescore._log10(x double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1
RETURN log10(NULLIF(float8larger(x, '0'::float8), '0'::float8));
COMMENT ON FUNCTION rescore._log10(double precision) IS 'The logarithm to base 10; NULL of 0 and below.';

CREATE OR REPLACE FUNCTION rescore._sqrt(x double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1
-- Every negative number becomes the one nearest to 0, and that NULL: x stands here once.
RETURN sqrt(NULLIF(float8larger(x, '-4.94065645841247e-324'::float8), '-4.94065645841247e-324'::float8));
COMMENT ON FUNCTION rescore._sqrt(double precision) IS 'The square root; NULL below 0.';

CREATE OR REPLACE FUNCTION rescore._exp(x double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1
RETURN rescore._capped(exp(float8smaller(float8larger(x, '-600'::float8), '231'::float8)));
COMMENT ON FUNCTION rescore._exp(double precision) IS 'e to the power of x, capped.';

CREATE OR REPLACE FUNCTION rescore._round(x double precision, digits integer)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1
RETURN round(rescore._flushed(x)::numeric, digits)::float8;
COMMENT ON FUNCTION rescore._round(double precision, integer) IS
    'A number, to 15 digits, rounded to so many digits after the point, halves away from 0.';

CREATE OR REPLACE FUNCTION rescore._unless(a double precision, b double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1
RETURN NULLIF(a, b);
COMMENT ON FUNCTION rescore._unless(double precision, double precision) IS 'NULLIF, with the operator bound.';

CREATE OR REPLACE FUNCTION rescore._differs(a double precision, b double precision)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1
RETURN a IS DISTINCT FROM b;
COMMENT ON FUNCTION rescore._differs(double precision, double precision) IS 'IS DISTINCT FROM, with the operator bound.';

CREATE OR REPLACE FUNCTION rescore._of_float(x double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1
RETURN CASE WHEN abs(x) < 'Infinity'::float8 THEN rescore._capped(x) END;
COMMENT ON FUNCTION rescore._of_float(double precision) IS 'Any float8 as a number of an expression; NULL when NaN or infinite.';

CREATE OR REPLACE FUNCTION rescore._of_numeric(x numeric)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1
-- The usual case first: a cast of a long numeric takes microseconds, and of a tiny one raises.
RETURN CASE WHEN abs(x) BETWEEN '1e-100'::numeric AND '1e100'::numeric THEN x::float8
            WHEN abs(x) < '1e-100'::numeric THEN '0'::float8
            WHEN abs(x) < 'Infinity'::numeric THEN CASE WHEN x < '0'::numeric THEN '-1e100'::float8 ELSE '1e100'::float8 END END;
COMMENT ON FUNCTION rescore._of_numeric(numeric) IS 'Any numeric as a number of an expression; NULL when NaN or infinite.';

CREATE OR REPLACE FUNCTION rescore._of_fixed(x numeric)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1
RETURN rescore._capped(NULLIF(x, 'NaN'::numeric)::float8);
COMMENT ON FUNCTION rescore._of_fixed(numeric) IS 'A numeric of fixed scale as a number of an expression; NULL when NaN.';

CREATE OR REPLACE FUNCTION rescore._days_after(clock timestamp with time zone, x timestamp with time zone)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1
-- As numbers: of times that are too far apart no interval is right, and since PostgreSQL 17 it is an error.
RETURN CASE WHEN isfinite(x) AND isfinite(clock) THEN tstzrange_subdiff(clock, x) / '86400'::float8 END;
COMMENT ON FUNCTION rescore._days_after(timestamp with time zone, timestamp with time zone) IS
    'Days from x to the clock, negative when x is yet to come; NULL when either is infinite.';
