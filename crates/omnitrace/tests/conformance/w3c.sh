#!/usr/bin/env bash
# The W3C's suites for traceparent and tracestate (Level 2) and for baggage, against a service with the telemetry crate.
#
#   w3c.sh DIRECTORY     # it holds clones of github.com/w3c/trace-context and github.com/w3c/baggage (docs/CONFORMANCE.md)
set -euo pipefail

suites="$(realpath "${1:?usage: w3c.sh DIRECTORY}")"
here="$(cd "$(dirname "$0")" && pwd)"
cd "$here/../../../.."
for suite in trace-context baggage; do
    [ -d "$suites/$suite/test" ] || { echo "$suites/$suite/test is missing: clone https://github.com/w3c/$suite there" >&2; exit 1; }
done

python=target/w3c/bin/python
[ -x "$python" ] || python3 -m venv target/w3c
"$python" -m pip install -q 'aiohttp==3.13.2'
cargo build -q -p telemetry --features axum,reqwest --example hops

log="$(mktemp)"
LISTEN=127.0.0.1:0 OTEL_TRACES_EXPORTER=none OTEL_LOGS_EXPORTER=none target/debug/examples/hops >"$log" &
trap 'kill %1; rm -f "$log"' EXIT
until address="$(sed -n 's/.*"http_addr":"\([^"]*\)".*/\1/p' "$log")" && [ -n "$address" ]; do
    kill -0 %1 || exit 1
    sleep 0.1
done

python="$PWD/$python" code=0
echo "=== trace-context, level 2, strict"
(cd "$suites/trace-context/test" && SERVICE_ENDPOINT="http://$address/test" SPEC_LEVEL=2 STRICT_LEVEL=2 "$python" -B -m unittest test) || code=1
echo "=== baggage"
"$python" -B "$here/baggage_suite.py" "$suites/baggage/test" "http://$address/test" || code=1
exit "$code"
