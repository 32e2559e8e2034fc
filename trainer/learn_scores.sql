-- Scores and treatments; part of learn_fields.sql.
, coalesce(s.score, 'NaN'), s.treated_at IS NOT NULL
