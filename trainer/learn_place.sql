-- Where a part begins: the first where it is told to, each other where the one before ended. Of both numbers the one in
-- this field; part of learn_stream.sql. The setting may be unknown to the planner, who asks for it too.
CASE n.part WHEN 1 THEN {told} ELSE pg_catalog.split_part(pg_catalog.current_setting('rescore.read_to', true), ' ', {field}) END
