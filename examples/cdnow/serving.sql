-- Which version serves, and which score beside it. Calls nothing; reads rescore.deployments.
SELECT d.champion, d.shadows FROM rescore.deployments AS d WHERE d.model = %s
