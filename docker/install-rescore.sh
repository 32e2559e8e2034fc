#!/usr/bin/env bash
# Runs once, when the container makes its database: rescore into that database, as its superuser.
set -euo pipefail

database=${POSTGRES_DB:-${POSTGRES_USER:-postgres}}
user=${POSTGRES_USER:-postgres}

psql -v ON_ERROR_STOP=1 --username "$user" --dbname "$database" \
    -c 'CREATE EXTENSION IF NOT EXISTS plpython3u'
# Over the socket: while it is being set up the server listens nowhere else.
PGUSER=$user PGDATABASE=$database PGHOST=/var/run/postgresql \
    /opt/rescore/bin/rescore install --python-path /opt/rescore/libraries
