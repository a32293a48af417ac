#!/bin/sh
# Behaves as the entrypoint of the official image does, for what tests and the Compose stack use of it:
# POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, POSTGRES_HOST_AUTH_METHOD, POSTGRES_INITDB_ARGS,
# /docker-entrypoint-initdb.d/*.sql, and arguments that start with `-`, which go to the server.
#
# Those who wait for "database system is ready to accept connections" see it twice, as with the official image:
# on stdout from the temporary server that runs the scripts, on stderr from the one that stays.
set -eu

fail() {
    echo "docker-entrypoint.sh: $*" >&2
    exit 1
}

case "${1:-postgres}" in
    -*) set -- postgres "$@" ;;
    postgres) [ $# -gt 0 ] || set -- postgres ;;
    *) exec "$@" ;;
esac
for argument in "$@"; do
    case "$argument" in
        --version | -V | --help | -\? | --describe-config) exec "$@" ;;
    esac
done

# The server refuses to run as root, and a mounted volume belongs to root at first.
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    chown -R postgres "$PGDATA" /var/run/postgresql
    chmod 700 "$PGDATA"
    exec gosu postgres "$0" "$@"
fi

user="${POSTGRES_USER:-postgres}"
database="${POSTGRES_DB:-$user}"
password="${POSTGRES_PASSWORD:-}"
auth="${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}"

initialise() {
    if [ -z "$password" ] && [ "$auth" != trust ]; then
        fail "set POSTGRES_PASSWORD (or POSTGRES_HOST_AUTH_METHOD=trust, which lets everybody in without one)"
    fi
    set --
    if [ -n "$password" ]; then
        (umask 077 && printf '%s\n' "$password" >/tmp/password)
        set -- --pwfile=/tmp/password
    fi
    # shellcheck disable=SC2086 # a list of arguments
    initdb --username="$user" --auth-local=trust --auth-host="$auth" "$@" ${POSTGRES_INITDB_ARGS:-}
    rm -f /tmp/password
    echo "host all all all $auth" >>"$PGDATA/pg_hba.conf"
    echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
}

sql() {
    psql --no-psqlrc --no-password -v ON_ERROR_STOP=1 -U "$user" "$@"
}

# Reached through its socket alone, so that nobody from outside meets a half-made database.
run_scripts() {
    "$@" -c listen_addresses='' 2>&1 &
    server=$!
    until pg_isready -q -U "$user" -d postgres; do
        kill -0 "$server" 2>/dev/null || fail "the temporary server did not start"
        sleep 0.05
    done
    if [ "$database" != postgres ]; then
        echo 'CREATE DATABASE :"name";' | sql -d postgres -v name="$database"
    fi
    for script in /docker-entrypoint-initdb.d/*; do
        case "$script" in
            *.sql)
                echo "docker-entrypoint.sh: running $script"
                sql -d "$database" -f "$script"
                ;;
            '/docker-entrypoint-initdb.d/*') ;;
            *) fail "cannot run $script: this image knows only .sql files" ;;
        esac
    done
    kill -INT "$server"
    wait "$server"
}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initialise
    run_scripts "$@"
fi
exec "$@"
