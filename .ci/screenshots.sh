#!/usr/bin/env bash
# Pictures of every Grafana dashboard, of an order's trace in Jaeger and of its search page, from a stack that runs (`just up`).
#
#   .ci/screenshots.sh <directory>
#
# GRAFANA_URL, JAEGER_URL, GATEWAY_URL   where they are (default: where `just up` publishes them); Grafana without a login
set -euo pipefail

directory="${1:?usage: screenshots.sh <directory>}"
dashboards="$(cd "$(dirname "$0")/../dashboards" && pwd)"
grafana="${GRAFANA_URL:-http://127.0.0.1:3000}" jaeger="${JAEGER_URL:-http://127.0.0.1:16686}" gateway="${GATEWAY_URL:-http://127.0.0.1:8080}"
mkdir -p "$directory"

fail() {
    echo "screenshots.sh: $*" >&2
    exit 1
}

for browser in chromium google-chrome; do command -v "$browser" >/dev/null && break; done
command -v "$browser" >/dev/null || fail "needs chromium or google-chrome"

# An address that does not answer would give a picture of the browser's own error page.
picture() {
    local file="$directory/$1.png" url="$2"
    curl -fsS -o /dev/null "${3:-$url}" || fail "nothing to see at $url"
    # Virtual time goes on while no request is under way: 20 s are enough for every panel.
    "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1600,1800 --virtual-time-budget=20000 \
        --screenshot="$file" "$url" 2>"$directory/browser.log" || fail "$browser: $(cat "$directory/browser.log")"
    [ -s "$file" ] || fail "$browser made no picture of $url"
    echo "$file"
}

order() {
    curl -fsS -D - -o /dev/null -X POST "$gateway/api/orders" -H 'content-type: application/json' \
        -d '{"sku":"omni-mug","quantity":1,"customer_email":"ada@example.com"}' |
        grep -io 'traceparent;desc="00-[0-9a-f]*' | grep -o '[0-9a-f]\{32\}'
}

trace="$(order)" || fail "no order at $gateway"
deadline=$((SECONDS + 60))
until curl -fs "$jaeger/api/traces/$trace" | grep -q downstream; do
    ((SECONDS < deadline)) || fail "trace $trace is not in $jaeger"
    sleep 1
done
picture jaeger-trace "$jaeger/trace/$trace"
picture jaeger-search "$jaeger/search?service=gateway"
for file in "$dashboards"/*.json; do
    uid="$(sed -n 's/^  "uid": "\(.*\)",$/\1/p' "$file")"
    picture "grafana-$(basename "$file" .json)" "$grafana/d/$uid?kiosk" "$grafana/api/dashboards/uid/$uid"
done
rm -f "$directory/browser.log"
