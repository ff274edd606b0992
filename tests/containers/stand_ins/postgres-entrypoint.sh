#!/bin/bash
# As root, become postgres; make the cluster, its user and database once, run what is to run once; then the server.
set -euo pipefail
if [ "$(id -u)" = 0 ]; then
    install -d -o postgres "$(dirname "$PGDATA")"
    chown postgres /var/lib/postgresql
    exec setpriv --reuid=postgres --regid=postgres --clear-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    rm -rf "$PGDATA.draft"
    initdb --pgdata="$PGDATA.draft" --username="$POSTGRES_USER" --auth-host=scram-sha-256 --auth-local=trust \
        --pwfile=<(echo "$POSTGRES_PASSWORD") > /dev/null
    echo "host all all all scram-sha-256" >> "$PGDATA.draft/pg_hba.conf"
    pg_ctl --pgdata="$PGDATA.draft" --options="-c listen_addresses='' -k /var/run/postgresql" --wait start > /dev/null
    if [ "$POSTGRES_DB" != postgres ]; then
        psql --quiet --host=/var/run/postgresql --username="$POSTGRES_USER" --dbname=postgres \
            --command="CREATE DATABASE \"$POSTGRES_DB\""
    fi
    export PGHOST=/var/run/postgresql
    for script in /docker-entrypoint-initdb.d/*.sh; do
        [ -e "$script" ] && bash -e "$script"
    done
    unset PGHOST
    pg_ctl --pgdata="$PGDATA.draft" --mode=fast --wait stop > /dev/null
    mv "$PGDATA.draft" "$PGDATA"
    echo "PostgreSQL init process complete; ready for start up."
fi
exec "$@" -c listen_addresses='*' -k /var/run/postgresql
