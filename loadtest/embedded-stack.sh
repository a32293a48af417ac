# Sourced by the scripts beside it: the embedded stack on free ports, for as long as the script runs.
#
#   start_stack          starts `omnitrace up` and waits until data is visible; sets $gateway
#   venv <requirements>  a virtual environment with these packages; sets $venv

cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

stop_stack() {
    if [ -n "${stack_pid:-}" ] && kill "$stack_pid" 2>/dev/null; then
        wait "$stack_pid" || true
    fi
    rm -rf "${stack_dir:-}"
}

start_stack() {
    local executable="${OMNITRACE_BIN:-target/debug/omnitrace}" deadline=$((SECONDS + 120))
    [ -x "$executable" ] || fail "no $executable: cargo build, or name one in OMNITRACE_BIN"
    stack_dir="$(mktemp -d)"
    # PostgreSQL refuses root, and its own user has to get there.
    chmod 755 "$stack_dir"
    : >"$stack_dir/events"
    trap stop_stack EXIT
    "$executable" up --json --data-dir "$stack_dir/data" --gateway-port 0 --data-port 0 --downstream-port 0 \
        --console-port 0 --otlp-grpc-port 0 --otlp-http-port 0 --herald-port 0 \
        --gateway-admin-port 0 --data-admin-port 0 --downstream-admin-port 0 \
        >"$stack_dir/events" 2>"$stack_dir/log" &
    stack_pid=$!
    until grep -q '"event":"ready"' "$stack_dir/events"; do
        if ! kill -0 "$stack_pid" 2>/dev/null || ((SECONDS > deadline)); then
            tail -n 20 "$stack_dir/events" "$stack_dir/log" >&2
            fail "the stack does not start"
        fi
        sleep 0.1
    done
    gateway="$(sed -n 's/.*"gateway_url":"\([^"]*\)".*/\1/p' "$stack_dir/events" | tail -n 1)"
    echo "the stack runs at $gateway"
}

venv() {
    venv="target/venv/$(basename "$1" .txt)"
    if ! cmp -s "$1" "$venv/installed"; then
        python3 -m venv --clear "$venv" || fail "needs Python 3 with venv (on Debian: python3-venv)"
        "$venv/bin/pip" install -q --disable-pip-version-check -r "$1" || fail "pip cannot install $1"
        cp "$1" "$venv/installed"
    fi
}
