#!/bin/sh
# Write docker/.env for docker/compose.yaml, with new random secrets; one that is there stays.
set -eu
file=${1:-$(dirname "$0")/.env}
if [ -e "$file" ]; then
    echo "$file is there already; expected none, since services hold its secrets; move it away" >&2
    exit 2
fi
random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
umask 077
cat > "$file.new" <<END
# What docker/compose.yaml is told on this host. Secrets: for those alone who may do everything here.
COMPOSE_PROFILES=cpu
# Where ports are published: 0.0.0.0 lets other machines in. Put TLS in front of it first.
LISTEN=127.0.0.1
PREFECT_PORT=4200
S3_PORT=8333
# As browsers reach the two: another port, host or scheme has to stand here, too.
PREFECT_UI_URL=http://127.0.0.1:4200
PREFECT_SERVER_UI_API_URL=http://127.0.0.1:4200/api
KONTEXT_S3__ENDPOINT_URL=http://s3.localhost:8333
# Recipes, mounted at /recipes.
RECIPES=../recipes
# A folder of models, mounted at /models (empty: a volume of that name); KONTEXT_WORKER__MODELS says which to
# serve, between commas: kontext-mini, /models/another. Empty: the shipped one.
MODELS=
KONTEXT_WORKER__MODELS=
# The nightly run: 0 22 * * * in Europe/Berlin, and what it has not begun after 9 hours stays undone.
KONTEXT_NIGHT__CRON=
KONTEXT_NIGHT__TIME_ZONE=
KONTEXT_NIGHT__DEADLINE=

PREFECT_SERVER_API_AUTH_STRING=kontext:$(random 24)
POSTGRES_PASSWORD=$(random 24)
S3_PARENTS_KEY=PARENTS$(random 6)
S3_PARENTS_SECRET=$(random 24)
S3_WORKERS_KEY=WORKERS$(random 6)
S3_WORKERS_SECRET=$(random 24)
S3_COLLECTOR_KEY=COLLECTOR$(random 6)
S3_COLLECTOR_SECRET=$(random 24)
# For people: to order runs and to pull what was made, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
S3_PEOPLE_KEY=PEOPLE$(random 6)
S3_PEOPLE_SECRET=$(random 24)
END
mv "$file.new" "$file"
echo "$file written; who computes (COMPOSE_PROFILES: cpu or gpu) and who may reach it stands in it"
