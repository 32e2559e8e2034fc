-- Whose memory is looked at. Calls: pg_backend_pid. Tables: none.

-- name: backend
SELECT pg_backend_pid()
