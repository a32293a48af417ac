#!/usr/bin/env bash
# Starts deploy/compose.yaml for real, by the same script as `just up`, with stand-in images; then looks at what runs,
# stops it, starts it again and deletes it. Needs a Docker engine and no registry: `just test-compose-up`.
#
#   .ci/compose-up.sh [overlay …]
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
stack="$here/../deploy/stack.sh"
# shellcheck source=.ci/compose-repair.sh
. "$here/compose-repair.sh"
# Debian 12 has no Compose 2; the machine's own comes first.
PATH="$PATH:$("$here/../deploy/tools/build.sh" docker-compose)"
work="$(mktemp -d)"
chmod 755 "$work"

# A project of its own, beside a stack that may be running.
export COMPOSE_PROJECT_NAME=omnitrace-test
export OMNITRACE_ENV_FILE="$work/.env" OMNITRACE_COMPOSE_OVERRIDE="$work/override.yaml" OMNITRACE_SECRETS_DIR="$work/secrets" OMNITRACE_STACK=compose
export GATEWAY_PORT=28080 GRAFANA_PORT=23000 JAEGER_PORT=26686 PROMETHEUS_PORT=29090 ALERTMANAGER_PORT=29093
export OTLP_GRPC_PORT=24317 OTLP_HTTP_PORT=24318

fail() {
    echo "compose-up.sh: FAILED: $*" >&2
    exit 1
}

finish() {
    local code=$?
    if ((code)); then
        "$stack" ps >&2 || true
        docker ps -a --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" --format '{{.Names}}' | while read -r name; do
            echo "--- $name" >&2
            docker logs --tail 15 "$name" >&2 || true
        done
    fi
    "$stack" reset >&2 || true
    rm -rf "$work"
    exit "$code"
}

containers() { docker ps -aq --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME"; }
volumes() { docker volume ls -q --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" | wc -l; }

# Until a command succeeds, two minutes at most.
eventually() {
    local what="$1" deadline=$((SECONDS + 120))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || fail "$what"
        sleep 1
    done
}

# Engine's own view, not Compose's: a limit that it did not set would be none.
inspect() {
    local seen=0 id name memory readonly address health code
    for id in $(containers); do
        IFS='|' read -r name memory readonly health code < <(docker inspect --format \
            '{{.Name}}|{{.HostConfig.Memory}}|{{.HostConfig.ReadonlyRootfs}}|{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}|{{.State.ExitCode}}' "$id")
        ((memory > 0)) || fail "$name has no memory limit"
        [ "$readonly" = true ] || fail "$name can write to its root"
        case "$health" in healthy | none) ;; *) fail "$name is $health" ;; esac
        [ "$code" = 0 ] || fail "$name ended with $code"
        for address in $(docker inspect --format '{{range $_, $list := .NetworkSettings.Ports}}{{range $list}}{{.HostIp}} {{end}}{{end}}' "$id"); do
            [ "$address" = 127.0.0.1 ] || fail "$name is published on $address"
        done
        seen=$((seen + 1))
    done
    ((seen >= 13)) || fail "only $seen containers"
    echo "compose-up.sh: $seen containers: limits, read-only roots, health and published addresses are as written"
}

all_healthy() { ! docker ps --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" --format '{{.Status}}' | grep -E 'starting|unhealthy'; }

trap finish EXIT
case " $* " in *" tls "*)
    "$here/../deploy/tls/certificates.sh"
    export STAND_IN_TLS=1
    ;;
esac
"$here/stand-in-images.sh" "$OMNITRACE_COMPOSE_OVERRIDE"
# A release that was started before this one.
echo "2026-01-01T00:00:00Z 0.0.1-before" >"$OMNITRACE_ENV_FILE.releases"
"$stack" up "$@"
[ "$(wc -l <"$OMNITRACE_ENV_FILE.releases")" -gt 1 ] || echo "2026-01-02T00:00:00Z 0.1.0" >>"$OMNITRACE_ENV_FILE.releases"
eventually "a container does not become healthy" all_healthy
inspect
repairs

echo "compose-up.sh: the trace of an order outlives down and up"
# As doctor: the overlay `production` keeps every probe.
order="$(curl -sS -A omnitrace-doctor/compose-up -D - -o /dev/null -X POST "http://127.0.0.1:$GATEWAY_PORT/api/orders" -H 'content-type: application/json' \
    -d '{"sku":"omni-mug","quantity":1,"customer_email":"ada@example.com"}')"
trace="$(grep -io 'traceparent;desc="00-[0-9a-f]*' <<<"$order" | grep -o '[0-9a-f]\{32\}')" || fail "no trace id in: $order"
found() { curl -sf "http://127.0.0.1:$JAEGER_PORT/api/traces/$trace" | grep -q '"serviceName":"downstream"'; }
eventually "Jaeger does not get trace $trace" found

# Loki, or what stands in for it, is not published: asked from a container beside it.
shipped() {
    docker exec "$COMPOSE_PROJECT_NAME-prometheus-1" wget -q -O - \
        'http://loki:3100/loki/api/v1/query_range?since=1h&query=%7Bservice_name%3D%22postgres%22%7D' | grep -q checkpoint
}
case " $* " in
    *" tls "*) ;; # a certificate is wanted then
    *" filelog "*)
        docker exec "$COMPOSE_PROJECT_NAME-postgres-1" psql -q -U postgres -c CHECKPOINT
        eventually "Postgres' output does not arrive where Loki is" shipped
        echo "compose-up.sh: Postgres' output is where Loki is"
        ;;
esac

case " $* " in *" production "*)
    if "$stack" fault set downstream latency ms=50 --for 30s 2>/dev/null; then fail "a fault can be switched on in production"; fi
    export OMNITRACE_FAULTS=on
    "$stack" up "$@"
    ;;
esac
"$stack" fault set downstream latency ms=50 --for 30s
listed="$("$stack" fault list downstream)"
grep -q latency <<<"$listed" || fail "the fault is not listed: $listed"
"$stack" fault clear

case " $* " in
*" tls "*) ;; # what stands in for doctor has no certificate for Loki
*)
    echo "compose-up.sh: every block of every runbook"
    docker tag omnitrace-stand-in/omnitrace:0 omnitrace:0.0.1-before
    (cd "$here/.." && cargo test --quiet -p omnitrace --test e2e runbooks::pasted::on_compose -- --ignored --nocapture)
    docker image rm omnitrace:0.0.1-before >/dev/null
    ;;
esac

kept="$(volumes)"
"$stack" down
[ -z "$(containers)" ] || fail "down leaves containers behind"
[ "$(volumes)" = "$kept" ] || fail "down has deleted a volume"
"$stack" up "$@"
eventually "trace $trace is gone after down and up" found
"$stack" reset
[ "$(volumes)" = 0 ] || fail "reset leaves volumes behind"
echo "compose-up.sh: all good"
