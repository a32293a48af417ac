#!/usr/bin/env bash
# Checks the running API against its OpenAPI document with a property-based client (schemathesis): no 5xx, no status,
# media type or body that the document does not know. Bounded, and the same requests each time.
#
#   loadtest/openapi.sh          or: just test-openapi
set -euo pipefail
. "$(dirname "$0")/embedded-stack.sh"

venv loadtest/requirements-openapi.txt
start_stack
report="$stack_dir/report.xml"
"$venv/bin/schemathesis" run "$gateway/openapi.json" --url "$gateway" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --phases examples,coverage,fuzzing --max-examples "${MAX_EXAMPLES:-50}" --seed 1 --request-timeout 10 --workers 1 \
    --report junit --report-junit-path "$report"
tested="$(grep -c '<testcase' "$report" || true)"
((tested > 0)) || fail "nothing was tested"
echo "$tested operations hold what openapi.json says"
