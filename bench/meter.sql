-- Bytes of WAL so far; updates, and HOT updates, of the profile table. Reads statistics views.
SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0'),
       COALESCE(max(n_tup_upd), 0), COALESCE(max(n_tup_hot_upd), 0)
FROM pg_stat_user_tables WHERE relname = 'customer_profile'
