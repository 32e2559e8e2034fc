-- What the replay leaves behind. Calls nothing; reads public.orders, rescore.snapshots, rescore.learn_log.
SELECT (SELECT pg_catalog.count(*) FROM public.orders),
       (SELECT pg_catalog.count(*) FROM rescore.snapshots),
       (SELECT pg_catalog.count(*) FROM rescore.snapshots AS s WHERE s.resolved IS NOT NULL),
       pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE g.action = 'published'), pg_catalog.count(*) FILTER (WHERE g.action = 'refused')
FROM rescore.learn_log AS g WHERE g.model = %s AND g.action <> 'nothing'
