#!/usr/bin/env bash
# A fixed rate, open loop: requests start when they are due, however slow the answers are, and times count from when they were due.
#
#   loadtest/open-loop.sh <requests/s> <time> <url> [options of oha]
set -euo pipefail

fail() {
    echo "open-loop.sh: $*" >&2
    exit 2
}

(($# >= 3)) || fail "usage: open-loop.sh <requests/s> <time, as 30s> <url on this machine> [options of oha]"
rate="$1" time="$2" url="$3"
shift 3
[[ "$rate" =~ ^[1-9][0-9]*$ ]] || fail "$rate is no rate; give whole requests per second, as 200"
[[ "$time" =~ ^[1-9][0-9]*[smh]$ ]] || fail "$time is no time; give it as 30s or 2m"
# Nothing before or after the host that could make it another one.
[[ "$url" =~ ^http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?(/[A-Za-z0-9/_.-]*)?$ ]] ||
    fail "$url is not on this machine; give a URL like http://127.0.0.1:8080/api/data"

cd "$(dirname "$0")/.."
oha="target/tools/bin/oha"
version="1.16.0"
if [ "$("$oha" --version 2>/dev/null)" != "oha $version" ]; then
    cargo install --quiet --locked --root target/tools "oha@$version" || fail "oha $version cannot be installed"
fi
exec "$oha" --no-tui -q "$rate" -z "$time" --latency-correction -H "User-Agent: omnitrace-load/oha-$version" "$@" "$url"
