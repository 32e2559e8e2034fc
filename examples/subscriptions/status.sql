-- The status of each account is that of its last change. Calls the triggers; writes public.accounts.
UPDATE accounts AS a SET status = 'cancelled'
FROM status_changes AS c WHERE c.account_id = a.account_id AND c.status = 'cancelled' AND a.status <> 'cancelled'
