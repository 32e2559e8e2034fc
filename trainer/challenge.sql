-- Lets a version serve a share of the customers. Calls rescore.challenge; see there for the tables.
SELECT rescore.challenge(%s::text, %s::int4, %s::float8, %s::text)
