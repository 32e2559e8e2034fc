-- Profiles that are logged, and whether in rounds. Calls nothing; reads rescore.profiles.
SELECT p.profile, p.definition -> 'snapshot' ? 'every' FROM rescore.profiles AS p WHERE p.definition ? 'snapshot' ORDER BY p.profile
