-- Compiled scorer against artefact. Calls rescore.verify_model; see there for the tables.
SELECT rescore.verify_model(%s::text)
