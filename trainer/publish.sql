-- Publishes an artefact where the database has PL/Python.
-- Calls rescore.publish; see there for the tables.
SELECT rescore.publish(
    %(model)s::text, %(artifact)s::bytea, contract => %(contract)s::jsonb,
    metrics => %(metrics)s::jsonb, format => %(format)s::text,
    expected => %(expected)s::float8[], parent => %(parent)s::int4,
    candidate => %(candidate)s::boolean, reason => %(reason)s::text,
    linear => %(linear)s::jsonb, signature => %(signature)s::bytea)
