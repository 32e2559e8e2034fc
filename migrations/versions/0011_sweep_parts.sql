-- Revision 0011: a sweep by several sessions, each with a part of the keys.
-- Calls: nothing. Tables: alters rescore.sweeps.
-- Frozen once released: a change is a new revision.

ALTER TABLE rescore.sweeps
    ADD COLUMN part INTEGER DEFAULT 1 NOT NULL,
    ADD COLUMN until TEXT,
    DROP CONSTRAINT sweeps_pkey,
    ADD CONSTRAINT sweeps_pkey PRIMARY KEY (profile, part);

COMMENT ON TABLE rescore.sweeps IS 'One row per part of the last sweep of each profile: where it stands, so that the next goes on there';
COMMENT ON COLUMN rescore.sweeps.part IS 'Which part of the keys, from 1 on; each is swept by a session of its own';
COMMENT ON COLUMN rescore.sweeps.terms IS 'What it sweeps for: age, tolerance, definition, serving versions, parts; another sweep begins anew';
COMMENT ON COLUMN rescore.sweeps.position IS 'Last key done, as text, at first the end of the part before; null at the table''s start';
COMMENT ON COLUMN rescore.sweeps.until IS 'Last key of the part, as text; null up to the table''s end';
