-- Numbers that fade: weights that halve every half-life, and how what was added up fades together.
-- Calls: nothing outside this file. Tables: none.
--
-- All but the last three are single expressions over their arguments, without SET: they are inlined into
-- triggers, counts and users' queries, and their names are bound when they are created. All are total.
-- PostgreSQL raises where a product is too small for a float8. Here none is: numbers that count are 0 or
-- between 1e-90 and 1e100 in magnitude, weights 0 or above 4e-203, and what is kept is 0 or above 2e-99:
-- what has faded below that is taken for 0 (_faded).

CREATE OR REPLACE FUNCTION rescore._weight(later timestamptz, earlier timestamptz, rate double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Seconds as float8 in one call: by an interval and date_part it takes ten times as long.
RETURN CASE WHEN tstzrange_subdiff(later, earlier) * rate < '466'::float8
            THEN exp(least(tstzrange_subdiff(earlier, later), '0'::float8) * rate) ELSE '0'::float8 END;
COMMENT ON FUNCTION rescore._weight(timestamptz, timestamptz, double precision) IS
    'What is left at a later time of 1 at an earlier one, when the logarithm falls by rate a second; never more than 1; 0 after 672 half-lives.';

CREATE OR REPLACE FUNCTION rescore._weight(later timestamptz, earlier timestamptz, half_life interval)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN rescore._weight(later, earlier, ln('2'::float8) / date_part('epoch', half_life));
COMMENT ON FUNCTION rescore._weight(timestamptz, timestamptz, interval) IS
    'What is left at a later time of 1 at an earlier one, halved every half_life (above 0).';

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

CREATE OR REPLACE FUNCTION rescore._add_decayed(total double precision, total_at timestamptz, added double precision, added_at timestamptz, half_life interval)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN rescore._faded(CASE WHEN total_at > added_at THEN total + added * rescore._weight(total_at, added_at, half_life)
                           ELSE total * rescore._weight(added_at, total_at, half_life) + added END);
COMMENT ON FUNCTION rescore._add_decayed(double precision, timestamptz, double precision, timestamptz, interval) IS
    'The sum, as of the later of the two times, of two decayed totals, each as of its own time.';

CREATE OR REPLACE FUNCTION rescore._share(weight double precision, weight_at timestamptz, other double precision, other_at timestamptz, half_life interval)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN other_at > weight_at
            THEN weight * rescore._weight(other_at, weight_at, half_life) / (weight * rescore._weight(other_at, weight_at, half_life) + other)
            ELSE weight / (weight + other * rescore._weight(weight_at, other_at, half_life)) END;
COMMENT ON FUNCTION rescore._share(double precision, timestamptz, double precision, timestamptz, interval) IS
    'The share of one decayed weight (1 or more as of its own time) in it and another: from 0 to 1.';

CREATE OR REPLACE FUNCTION rescore._join_means(mean double precision, weight double precision, mean_at timestamptz,
                                               other double precision, other_weight double precision, other_at timestamptz, half_life interval)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN rescore._faded(CASE
    -- Equal values keep their mean to the last digit, and their deviation 0.
    WHEN mean = other THEN mean
    WHEN mean_at > other_at THEN (mean * weight + other * (other_weight * rescore._weight(mean_at, other_at, half_life)))
                                 / (weight + other_weight * rescore._weight(mean_at, other_at, half_life))
    ELSE (mean * (weight * rescore._weight(other_at, mean_at, half_life)) + other * other_weight)
         / (weight * rescore._weight(other_at, mean_at, half_life) + other_weight) END);
COMMENT ON FUNCTION rescore._join_means(double precision, double precision, timestamptz, double precision, double precision, timestamptz, interval) IS
    'The mean of two groups, of which each has a decayed weight as of its own time.';

CREATE OR REPLACE FUNCTION rescore._spread(deviation double precision, distance double precision, share double precision, other_share double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- Chan's formula by its roots. The distance of points is sqrt(x² + y²) without the squares' underflow.
RETURN sqrt(share) * (point(coalesce(deviation, '0'::float8), sqrt(other_share) * distance) <-> point '(0,0)');
COMMENT ON FUNCTION rescore._spread(double precision, double precision, double precision, double precision) IS
    'The standard deviation of a group with this deviation (NULL: 0) and share of the weight, joined with equal values at a distance from its mean.';

CREATE OR REPLACE FUNCTION rescore._gather_total(numbers double precision[], times timestamptz[], last timestamptz, half_life interval)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rate double precision := ln('2'::float8) / date_part('epoch', half_life);
BEGIN
    IF numbers IS NULL THEN
        RETURN (SELECT sum(rescore._weight(last, e.t, rate)) FROM unnest(times) AS e (t));
    END IF;
    RETURN (SELECT rescore._faded(sum(e.x * rescore._weight(last, e.t, rate)))
            FROM (SELECT unnest(numbers) AS x, unnest(times) AS t) AS e);
END
$$;
COMMENT ON FUNCTION rescore._gather_total(double precision[], timestamptz[], timestamptz, interval) IS
    'The sum of numbers (NULL: of ones) at these times, each faded until the last; NULL when there are none.';

CREATE OR REPLACE FUNCTION rescore._gather_mean(numbers double precision[], times timestamptz[], last timestamptz, half_life interval)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT CASE WHEN min(x) = max(x) THEN min(x) ELSE
                rescore._faded(rescore._gather_total(numbers, times, last, half_life) / rescore._gather_total(NULL, times, last, half_life)) END
            FROM unnest(numbers) AS e (x));
END
$$;
COMMENT ON FUNCTION rescore._gather_mean(double precision[], timestamptz[], timestamptz, interval) IS
    'The mean of numbers, weighted by how long before the last they were; NULL when there are none.';

CREATE OR REPLACE FUNCTION rescore._gather_deviation(numbers double precision[], times timestamptz[], last timestamptz, half_life interval)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rate double precision := ln('2'::float8) / date_part('epoch', half_life);
    mean double precision := rescore._gather_mean(numbers, times, last, half_life);
BEGIN
    -- In a second pass around the mean; each number by the root of its weight, so that no square underflows.
    RETURN (SELECT CASE WHEN count(*) > 1 THEN rescore._faded(sqrt(sum(rescore._faded((e.x - mean) * sqrt(e.w)) ^ '2'::float8) / sum(e.w))) END
            FROM (SELECT n.x, rescore._weight(last, n.t, rate) AS w
                  FROM (SELECT unnest(numbers) AS x, unnest(times) AS t) AS n) AS e);
END
$$;
COMMENT ON FUNCTION rescore._gather_deviation(double precision[], timestamptz[], timestamptz, interval) IS
    'The standard deviation of numbers with the same weights; NULL for fewer than two.';
