-- What is read of an example beside its design row; part of learn_page.sql. None of it is NULL: each row has the same
-- form (trainer/loop/packed.py). The hash is that of rescore.share, whose share are the first 52 bits; it is kept since
-- 077_resolve.sql keeps it. `scores`: what is read only where it is asked for, or nothing. Calls rescore._hash.
ROW(s.id, s.resolved, s.taken_at, s.due_at, coalesce(s.label, {unlabelled}), coalesce(s.holdout, false),
    coalesce(s.hash, rescore._hash({salt}, s.key)){scores})
