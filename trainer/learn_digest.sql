-- Of what was applied that defines a model; null where none does. Calls nothing; reads rescore.deployments, rescore.profiles.
SELECT (SELECT p.digest FROM rescore.deployments AS d JOIN rescore.profiles AS p ON p.profile = d.profile WHERE d.model = %s)
