#!/usr/bin/env bash
# Builds the handler of docs/OVERHEAD.md with this crate and elsewhere, and measures each with and without telemetry, in pairs.
#
#   loadtest/peers/run.sh [options of `loadtest peers`]
#
# PEERS: which of "ours axum go flask" (default: all). Needs Go and Python 3 for theirs.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Relative: a command of a peer is split at blanks, and this directory's path may have some.
built=target/peers
mkdir -p "$built"
options=()

ours() {
    cargo build --quiet --release -p telemetry --example three_spans --features axum
    options+=(--peer "ours=target/release/examples/three_spans")
}

axum() {
    cargo build --quiet --release --locked --manifest-path loadtest/peers/axum/Cargo.toml --target-dir "$built/axum"
    options+=(--peer "axum+tracing-opentelemetry=$built/axum/release/peer-axum")
}

go_() {
    (cd loadtest/peers/go && CGO_ENABLED=0 go build -mod=readonly -o "../../../$built/peer-go" .)
    options+=(--peer "go-otelhttp=$built/peer-go")
}

# At a rate that one interpreter can serve.
flask() {
    local requirements=loadtest/peers/flask/requirements.txt venv
    # Another one for other versions; finished when the mark is there.
    venv="$built/flask-$(cksum <"$requirements" | cut -d ' ' -f 1)"
    if [ ! -e "$venv/finished" ]; then
        rm -rf "$built"/flask*
        python3 -m venv "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
        touch "$venv/finished"
    fi
    options+=(--peer "flask/200=$venv/bin/python loadtest/peers/flask/app.py")
}

for peer in ${PEERS:-ours axum go flask}; do
    case "$peer" in
    ours | axum | flask) "$peer" ;;
    go) go_ ;;
    *)
        echo "run.sh: PEERS: there is no $peer; give some of: ours axum go flask" >&2
        exit 2
        ;;
    esac
done
cargo build --quiet --release -p loadtest
exec target/release/loadtest peers "${options[@]}" "$@"
