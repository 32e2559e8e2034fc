-- The names of all profiles. Calls nothing; reads rescore.profiles.
SELECT p.profile FROM rescore.profiles AS p ORDER BY p.profile
