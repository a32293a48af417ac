#!/usr/bin/env bash
# Makes deploy/.env, with secrets of this installation, at the first run; what is there is never changed.
# Docker Compose reads the file by itself. There is no default password anywhere.
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
file="${OMNITRACE_ENV_FILE:-$here/.env}"
secrets="${OMNITRACE_SECRETS_DIR:-$here/secrets}"

# Letters and digits only: they stand in URLs.
secret() {
    local text
    text="$(head -c 512 /dev/urandom | LC_ALL=C tr -dc 'A-Za-z0-9')"
    [ "${#text}" -ge 32 ] || { echo "env.sh: /dev/urandom gave too little" >&2; exit 1; }
    echo "${text:0:32}"
}

names="POSTGRES_PASSWORD OMNITRACE_DATA_PASSWORD OMNITRACE_EXPORTER_PASSWORD GRAFANA_PASSWORD GRAFANA_SECRET_KEY"

# Any value will do, so an installation of before gets one.
added="OMNITRACE_PROBE_TOKEN"

umask 077
if [ -e "$file" ]; then
    missing=""
    for name in $names; do
        grep -Eq "^$name=.+" "$file" || missing="$missing $name"
    done
    if [ -n "$missing" ]; then
        echo "env.sh: $file has no value for:$missing" >&2
        echo "  add the lines NAME=value. A new POSTGRES_PASSWORD or OMNITRACE_…_PASSWORD fits only a new database: just reset" >&2
        exit 1
    fi
    # Who added a line by hand may have left out its end.
    [ -z "$(tail -c 1 "$file")" ] || echo >>"$file"
    for name in $added; do
        grep -Eq "^$name=.+" "$file" || echo "$name=$(secret)" >>"$file"
    done
    chmod 600 "$file"
else
    # In one piece: an interrupted run leaves no half of it.
    {
        echo "# Made by deploy/env.sh. Keep it: the data of this stack opens with these secrets only."
        for name in $names $added; do
            echo "$name=$(secret)"
        done
        echo "# Everything else that may be set here (ports, profiles): docs/DEPLOY.md"
    } >"$file.part"
    mv "$file.part" "$file"
    echo "env.sh: made $file; Grafana's login is admin with GRAFANA_PASSWORD from it"
fi

# The containers read the receivers' secrets as users of their own. On this machine nobody else gets past the
# directory above, which is closed.
mkdir -p "$secrets/receivers"
chmod 700 "$secrets"
chmod 755 "$secrets/receivers"
# Empty is off. Herald is told of these by name, so they must exist.
for name in herald_slack_webhook_url herald_webhook_url herald_watchdog_url; do
    [ -e "$secrets/receivers/$name" ] || : >"$secrets/receivers/$name"
done
# What Alertmanager shows to herald.
[ -s "$secrets/receivers/herald_secret" ] || secret >"$secrets/receivers/herald_secret"
find "$secrets/receivers" -type f -exec chmod 644 {} +
