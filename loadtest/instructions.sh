#!/usr/bin/env bash
# What a request of /api/data costs in instructions, in each service and with each signal: a count, so it says the same on a busy machine.
# docs/OVERHEAD.md says what it counts. Needs valgrind; the files of the last run stay in target/instructions, for callgrind_annotate.
#
#   loadtest/instructions.sh [requests]     release builds of omnitrace and loadtest; OMNITRACE_BIN names another omnitrace
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "instructions.sh: $*" >&2
    exit 1
}

requests="${1:-500}"
[[ "$requests" =~ ^[1-9][0-9]*$ ]] || fail "$requests is no number of requests"
omnitrace="${OMNITRACE_BIN:-target/release/omnitrace}" loadtest="${LOADTEST_BIN:-target/release/loadtest}"
for file in "$omnitrace" "$loadtest"; do
    [ -x "$file" ] || fail "no $file: cargo build --release -p omnitrace -p loadtest"
done
command -v callgrind_control >/dev/null || fail "needs valgrind (on Debian: apt-get install valgrind)"

# A variable of the caller's shell would change what is counted.
for name in $(compgen -e | grep -E '^(OTEL_|RUST_LOG)' || true); do unset "$name"; done
directory="$(mktemp -d)" counts="$PWD/target/instructions"
# PostgreSQL refuses root, and its own user has to get there.
chmod 755 "$directory"
rm -rf "$counts" && mkdir -p "$counts"
trap 'kill $(jobs -p) 2>/dev/null || true; wait || true; rm -rf "$directory"' EXIT
export OMNITRACE_HTTP_ADDR=127.0.0.1:0 OMNITRACE_ADMIN_ADDR=127.0.0.1:0 OMNITRACE_LOG_FORMAT=json OMNITRACE_LATENCY_MEDIAN_MS=0

# start NAME FIELD COMMAND…: waits until it listens, and sets $found to where.
start() {
    local name="$1" field="$2" deadline=$((SECONDS + 120))
    shift 2
    "$@" <&3 >"$directory/$name.log" 2>&1 &
    until found="$(grep -s '"message":"listening"' "$directory/$name.log" | sed -n "s/.*\"$field\":\"\([^\"]*\)\".*/\1/p" | grep .)"; do
        { kill -0 $! && ((SECONDS < deadline)); } 2>/dev/null || fail "$name does not start: $(tail -n 3 "$directory/$name.log")"
        sleep 0.2
    done
}

# counted NAME COMMAND…: the same for a service, under callgrind.
counted() {
    local name="$1"
    shift
    start "$name" http_addr env "$@" valgrind --tool=callgrind --callgrind-out-file="$counts/$step-$name" "$omnitrace" "$name"
    pids+=($!)
}

# send REQUESTS [OPTION…] of curl.
send() {
    curl -sS -o /dev/null "${@:2}" "http://$found/api/data#[1-$1]" || fail "a request failed: is the machine too busy for callgrind?"
    # Until the last batch has left.
    sleep 6
}

# count STEP VARIABLE…: instructions per request of gateway, data, downstream.
count() {
    local step="$1" name pids=() row=()
    shift
    counted downstream "$@"
    counted data DATABASE_URL="$database" OMNITRACE_SEED_ITEMS=omni-mug:1000:1250 DOWNSTREAM_URL="http://$found" "$@"
    counted gateway DATA_URL="http://$found" "$@"
    # The first ones may be too late for their callers.
    send 50
    callgrind_control -z "${pids[@]}" >/dev/null 2>&1
    send "$requests" --fail --fail-early
    callgrind_control -d "${pids[@]}" >/dev/null 2>&1
    for name in gateway data downstream; do
        row+=($(($(sed -n 's/^summary: //p' "$counts/$step-$name.1") / requests)))
    done
    kill "${pids[@]}" && wait "${pids[@]}" || true
    echo "| $step | ${row[0]} | ${row[1]} | ${row[2]} | $((row[0] + row[1] + row[2])) |"
}

# The sink ends with its standard input.
mkfifo "$directory/open"
exec 3<>"$directory/open"
mkdir "$directory/postgres"
start postgres database_url "$omnitrace" postgres --ephemeral --data-dir "$directory/postgres"
database="$found"
start sink http_addr "$loadtest" sink
export OTEL_EXPORTER_OTLP_ENDPOINT="http://$found"
quiet=RUST_LOG=off,service::run=info
echo "| | gateway | data | downstream | all |"
echo "|---|---|---|---|---|"
count nothing OTEL_SDK_DISABLED=true OTEL_METRICS_EXPORTER=none OTEL_PROPAGATORS=none "$quiet"
count metrics OTEL_TRACES_EXPORTER=none OTEL_LOGS_EXPORTER=none OTEL_PROPAGATORS=none "$quiet"
count traces "$quiet"
count all
