#!/usr/bin/env bash
# What whoever installs this does first: starts everything, follows an order through it, stops it and removes what was written.
#
#   .ci/first-order.sh [executable]      # default: target/debug/omnitrace
set -euo pipefail

omnitrace="$(realpath "${1:-$(dirname "$0")/../target/debug/omnitrace}")"
work="$(mktemp -d)"
cd "$work"

finish() {
    local code=$?
    if ((code)); then
        cat up.log >&2
        "$omnitrace" logs -n 20 >&2 || true
    fi
    "$omnitrace" stop || true
    "$omnitrace" reset --yes || code=1
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT

# Every port is any free one.
ports=()
for name in gateway data downstream console otlp-grpc otlp-http herald gateway-admin data-admin downstream-admin; do ports+=("--$name-port" 0); done
"$omnitrace" up "${ports[@]}" >up.log 2>&1 &
up=$!
until grep -q '^ready: ' up.log; do
    kill -0 "$up" 2>/dev/null || exit 1
    sleep 0.5
done
"$omnitrace" doctor
"$omnitrace" status
