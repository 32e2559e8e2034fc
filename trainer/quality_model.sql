-- Raises RS001 for a model that nobody knows of. Calls rescore._unknown_model; reads the view rescore.model_status.
SELECT CASE WHEN NOT EXISTS (SELECT FROM rescore.model_status AS s WHERE s.model = %(model)s::pg_catalog.text)
            THEN rescore._unknown_model(%(model)s::pg_catalog.text) END
