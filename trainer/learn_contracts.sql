-- The contracts of all versions. Calls nothing; reads rescore.models.
SELECT m.version, m.contract FROM rescore.models AS m WHERE m.model = %s ORDER BY m.version
