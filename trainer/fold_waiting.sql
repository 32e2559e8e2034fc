-- Profiles with something to fold. Calls rescore._waiting; see there for the tables.
SELECT w.profile FROM rescore._waiting() AS w
