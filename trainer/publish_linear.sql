-- Publishes a linear model, folded and proven outside, where the database has no PL/Python.
-- Calls rescore.publish_linear; see there for the tables.
SELECT rescore.publish_linear(
    %(model)s::text, %(artifact)s::bytea, %(sha256)s::text, %(linear)s::jsonb,
    %(contract)s::jsonb, %(probes)s::jsonb, %(expected)s::float8[],
    metrics => %(metrics)s::jsonb, format => %(format)s::text,
    library_versions => %(libraries)s::jsonb, clock => %(clock)s::timestamptz,
    parent => %(parent)s::int4, candidate => %(candidate)s::boolean, reason => %(reason)s::text,
    signature => %(signature)s::bytea)
