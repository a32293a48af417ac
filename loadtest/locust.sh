#!/usr/bin/env bash
# Runs locustfile.py headless against the embedded stack for a few seconds; any failed request, or none at all, fails it.
#
#   loadtest/locust.sh          or: just test-locust
set -euo pipefail
. "$(dirname "$0")/embedded-stack.sh"

venv loadtest/requirements.txt
start_stack
# It must refuse a host that is not ours, before a request is sent.
if "$venv/bin/locust" -f loadtest/locustfile.py --headless --users 1 --run-time 1s --host http://example.com >"$stack_dir/refused" 2>&1; then
    fail "a foreign host was not refused"
fi
grep -q 'only loopback and Compose service names' "$stack_dir/refused" || fail "the refusal does not say why: $(tail -n 3 "$stack_dir/refused")"

"$venv/bin/locust" -f loadtest/locustfile.py --headless --only-summary --host "$gateway" \
    --users 5 --spawn-rate 5 --run-time "${RUN_TIME:-8s}" --stop-timeout 5 --exit-code-on-error 1 --csv "$stack_dir/result"
requests="$(awk -F, '$2 == "Aggregated" { print $3 }' "$stack_dir/result_stats.csv")"
((requests > 0)) || fail "no request was made"
echo "$requests requests, none failed"
