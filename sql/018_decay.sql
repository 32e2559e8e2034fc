-- Numbers that fade: weights that halve every half-life, and how what was added up fades together.
-- Calls: nothing outside this file. Tables: none.
--
-- rate is ln(2) by the seconds of a half-life. Groups of events are joined as of the later of their two
-- last events. All functions are total. PostgreSQL raises where a product is too small for a float8; here
-- none is: numbers that count are 0 or between 1e-90 and 1e100 in magnitude, weights 0 or above 4e-203,
-- and what is kept is 0 or above 2e-99: what has faded below that is taken for 0 (_faded).
--
-- What has a RETURN body is one expression, without SET: it is inlined into triggers, counts and users'
-- queries, and its names are bound when it is created.

CREATE OR REPLACE FUNCTION rescore._weight(later timestamptz, earlier timestamptz, rate double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Seconds as float8 in one call: by an interval and date_part it takes ten times as long.
RETURN CASE WHEN tstzrange_subdiff(later, earlier) * rate < '466'::float8
            THEN exp(least(tstzrange_subdiff(earlier, later), '0'::float8) * rate) ELSE '0'::float8 END;
COMMENT ON FUNCTION rescore._weight(timestamptz, timestamptz, double precision) IS
    'What is left at a later time of 1 at an earlier one, never more than 1; 0 after 672 half-lives.';

CREATE OR REPLACE FUNCTION rescore._faded(number double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Magnitudes above 1e-67 come back unchanged: PostgreSQL does not reorder arithmetic.
RETURN (number + '1e-83'::float8) - '1e-83'::float8;
COMMENT ON FUNCTION rescore._faded(double precision) IS
    'A number without its last dust: rounded to a multiple of 2e-99, so that it may fade again without underflow.';

CREATE OR REPLACE FUNCTION rescore.decayed("value" double precision, as_of timestamptz, moment timestamptz, half_life interval)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Ten operators with now(): an argument that costs more, and is used twice, keeps a scorer from being
-- inlined. Hence the least weight in place of a CASE: times 1e100, it is still taken for 0.
RETURN rescore._faded("value" * exp(greatest(
    least(tstzrange_subdiff(as_of, moment), '0'::float8) * (ln('2'::float8) / date_part('epoch', half_life)), '-466'::float8)));
COMMENT ON FUNCTION rescore.decayed(double precision, timestamptz, timestamptz, interval) IS
    'What a decayed value of a profile (column x, as of column x__at) is at a later moment; unchanged at an earlier one; 0 when there was no event.';

CREATE OR REPLACE FUNCTION rescore._joined_total(total double precision, total_at timestamptz, other double precision, other_at timestamptz, rate double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN rescore._faded(CASE WHEN total_at > other_at THEN total + other * rescore._weight(total_at, other_at, rate)
                           ELSE total * rescore._weight(other_at, total_at, rate) + other END);
COMMENT ON FUNCTION rescore._joined_total(double precision, timestamptz, double precision, timestamptz, double precision) IS
    'The sum of two totals, each as of its own time.';

CREATE OR REPLACE FUNCTION rescore._joined_mean(mean double precision, weight double precision, weight_at timestamptz,
                                                other double precision, other_weight double precision, other_at timestamptz, rate double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN rescore._faded(CASE
    -- Equal values keep their mean to the last digit, and their deviation 0.
    WHEN mean = other THEN mean
    WHEN weight_at > other_at THEN (mean * weight + other * (other_weight * rescore._weight(weight_at, other_at, rate)))
                                   / (weight + other_weight * rescore._weight(weight_at, other_at, rate))
    ELSE (mean * (weight * rescore._weight(other_at, weight_at, rate)) + other * other_weight)
         / (weight * rescore._weight(other_at, weight_at, rate) + other_weight) END);
COMMENT ON FUNCTION rescore._joined_mean(double precision, double precision, timestamptz, double precision, double precision, timestamptz, double precision) IS
    'The mean of two groups with these means and weights, each weight as of its own time.';

CREATE OR REPLACE FUNCTION rescore._share(weight double precision, weight_at timestamptz, other double precision, other_at timestamptz, rate double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN other_at > weight_at
            THEN weight * rescore._weight(other_at, weight_at, rate) / (weight * rescore._weight(other_at, weight_at, rate) + other)
            ELSE weight / (weight + other * rescore._weight(weight_at, other_at, rate)) END;
COMMENT ON FUNCTION rescore._share(double precision, timestamptz, double precision, timestamptz, double precision) IS
    'The share of a weight (1 or more as of its own time) in it and another, from 0 to 1.';

CREATE OR REPLACE FUNCTION rescore._joined_deviation(deviation double precision, share double precision,
                                                     other double precision, other_share double precision, distance double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Chan's formula by its roots. The distance of points is sqrt(x^2 + y^2) without the squares' underflow.
RETURN rescore._faded(point(sqrt(other_share) * coalesce(other, '0'::float8),
    sqrt(share) * (point(coalesce(deviation, '0'::float8), sqrt(other_share) * distance) <-> point '(0,0)')) <-> point '(0,0)');
COMMENT ON FUNCTION rescore._joined_deviation(double precision, double precision, double precision, double precision, double precision) IS
    'The standard deviation of two groups with these deviations (NULL: 0) and shares of the weight, whose means are so far apart.';

-- The three that triggers call to join an event to what a row holds. Inlined, they would cost an insert
-- two to twelve times as much: PostgreSQL sets an expression up anew for each statement, and this one
-- stands in the row and again in the score. A SET clause would double the call: the names are qualified.
CREATE OR REPLACE FUNCTION rescore._join_total(total double precision, total_at timestamptz, other double precision, other_at timestamptz, rate double precision)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
BEGIN
    RETURN rescore._joined_total(total, total_at, other, other_at, rate);
END
$$;
COMMENT ON FUNCTION rescore._join_total(double precision, timestamptz, double precision, timestamptz, double precision) IS
    'The sum of two totals, each as of its own time: rescore._joined_total, not inlined.';

CREATE OR REPLACE FUNCTION rescore._join_mean(mean double precision, weight double precision, weight_at timestamptz,
                                              other double precision, other_weight double precision, other_at timestamptz, rate double precision)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
BEGIN
    RETURN rescore._joined_mean(mean, weight, weight_at, other, other_weight, other_at, rate);
END
$$;
COMMENT ON FUNCTION rescore._join_mean(double precision, double precision, timestamptz, double precision, double precision, timestamptz, double precision) IS
    'The mean of two groups with these means and weights, each weight as of its own time: rescore._joined_mean, not inlined.';

CREATE OR REPLACE FUNCTION rescore._join_deviation(deviation double precision, mean double precision, weight double precision, weight_at timestamptz,
                                                   other double precision, other_mean double precision, other_weight double precision, other_at timestamptz,
                                                   rate double precision)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
DECLARE
    share pg_catalog.float8 := rescore._share(weight, weight_at, other_weight, other_at, rate);
    other_share pg_catalog.float8 := rescore._share(other_weight, other_at, weight, weight_at, rate);
BEGIN
    RETURN rescore._joined_deviation(deviation, share, other, other_share, other_mean OPERATOR(pg_catalog.-) mean);
END
$$;
COMMENT ON FUNCTION rescore._join_deviation(double precision, double precision, double precision, timestamptz, double precision, double precision, double precision, timestamptz, double precision) IS
    'The standard deviation of two groups with these deviations (NULL: 0), means and weights, each weight as of its own time.';

CREATE OR REPLACE FUNCTION rescore._gather_total(numbers double precision[], times timestamptz[], last timestamptz, rate double precision)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF numbers IS NULL THEN
        RETURN (SELECT sum(rescore._weight(last, e.t, rate)) FROM unnest(times) AS e (t));
    END IF;
    RETURN (SELECT rescore._faded(sum(e.x * rescore._weight(last, e.t, rate)))
            FROM (SELECT unnest(numbers) AS x, unnest(times) AS t) AS e);
END
$$;
COMMENT ON FUNCTION rescore._gather_total(double precision[], timestamptz[], timestamptz, double precision) IS
    'The sum of numbers (NULL: of ones) at these times, each faded until the last; NULL when there are none.';

CREATE OR REPLACE FUNCTION rescore._gather_mean(numbers double precision[], times timestamptz[], last timestamptz, rate double precision)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT CASE WHEN min(e.x) = max(e.x) THEN min(e.x)
                        ELSE rescore._faded(rescore._faded(sum(e.x * e.w)) / sum(e.w)) END
            FROM (SELECT n.x, rescore._weight(last, n.t, rate) AS w
                  FROM (SELECT unnest(numbers) AS x, unnest(times) AS t) AS n) AS e);
END
$$;
COMMENT ON FUNCTION rescore._gather_mean(double precision[], timestamptz[], timestamptz, double precision) IS
    'The mean of numbers, weighted by how long before the last they were; NULL when there are none.';

CREATE OR REPLACE FUNCTION rescore._gather_deviation(numbers double precision[], times timestamptz[], last timestamptz, rate double precision)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mean double precision := rescore._gather_mean(numbers, times, last, rate);
BEGIN
    -- In a second pass around the mean; each number by the root of its weight, so that no square underflows.
    RETURN (SELECT CASE WHEN count(*) > 1 THEN rescore._faded(sqrt(sum(rescore._faded((e.x - mean) * sqrt(e.w)) ^ '2'::float8) / sum(e.w))) END
            FROM (SELECT n.x, rescore._weight(last, n.t, rate) AS w
                  FROM (SELECT unnest(numbers) AS x, unnest(times) AS t) AS n) AS e);
END
$$;
COMMENT ON FUNCTION rescore._gather_deviation(double precision[], timestamptz[], timestamptz, double precision) IS
    'The standard deviation of numbers with the same weights; NULL for fewer than two.';
