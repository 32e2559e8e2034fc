-- A model's versions, the newest first. Calls nothing; reads rescore.models.
SELECT m.version FROM rescore.models AS m WHERE m.model = %s ORDER BY m.version DESC
