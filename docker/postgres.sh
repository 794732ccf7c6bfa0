#!/bin/sh
# PostgreSQL with its data in a volume: made at the first start, with the password that it is given.
set -eu
: "${POSTGRES_PASSWORD:?is not set; expected the password of the user prefect}"
data=/data/postgres
if [ ! -s "$data/PG_VERSION" ]; then
    rm -rf "$data.new"  # of a first start that did not come to its end
    umask 077
    printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
    initdb -D "$data.new" -U prefect --pwfile=/tmp/password --auth=scram-sha-256 --encoding=UTF8 \
        --locale=C.UTF-8
    rm /tmp/password
    printf 'host all all all scram-sha-256\n' >> "$data.new/pg_hba.conf"
    mv "$data.new" "$data"
fi
unset POSTGRES_PASSWORD
exec postgres -D "$data" -h '*' -k /tmp "$@"
