#!/usr/bin/env bash
# The standard stack on Docker Compose; the recipes of the justfile call this.
#
#   deploy/stack.sh up [overlay …]      overlays: production tls filelog trimmed cassandra remote-write; remembered for the other commands
#   deploy/stack.sh down | reset
#
# Those of the runbooks, also for a stack without Docker (just demo): docs/runbooks/README.md says what each does.
#   deploy/stack.sh ps | health | doctor [option …] | logs [-f] [part …] | alerts [action …] | silence ALERT TIME WHY [LABEL=VALUE …]
#   deploy/stack.sh query PROMQL | query --logs LOGQL | sql SQL | outbox list | outbox retry ID … | log-level SERVICE [FILTER]
#   deploy/stack.sh restart PART | reload [PART …] | rollback SERVICE [VERSION]
#   deploy/stack.sh compose …           Docker Compose itself, with the files and settings of `up`
#   deploy/stack.sh fault list [service] | set <service> <fault> [name=value …] [--for TIME] | clear [service [fault]]
#
# OMNITRACE_ENV_FILE          secrets and settings (default: deploy/.env)
# OMNITRACE_SECRETS_DIR       secrets of the receivers (default: deploy/secrets)
# OMNITRACE_DATA_DIR          the directory of a stack without Docker (default: .omnitrace)
# OMNITRACE_COMPOSE_OVERRIDE  one more compose file, read last
# OMNITRACE_VERSION           the release (default of `up`: Cargo's version and the git revision; of the others: what was started last)
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
export OMNITRACE_ENV_FILE="${OMNITRACE_ENV_FILE:-$here/.env}"
remembered="$OMNITRACE_ENV_FILE.overlays"
releases="$OMNITRACE_ENV_FILE.releases"
# Compose would begin at deploy/, env.sh here.
[ -z "${OMNITRACE_SECRETS_DIR:-}" ] || export OMNITRACE_SECRETS_DIR="$(realpath -m "$OMNITRACE_SECRETS_DIR")"
revision="$(git -C "$here" describe --always --dirty --abbrev=12 --exclude '*' 2>/dev/null || true)"
export OMNITRACE_REVISION="${OMNITRACE_REVISION:-${revision:-unknown}}"

say() { echo "stack.sh: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

need_engine() {
    docker version >/dev/null 2>&1 || fail "no Docker engine answers. Without Docker: just demo, or just test-stack"
    if docker compose version >/dev/null 2>&1; then
        program=(docker compose)
    elif command -v docker-compose >/dev/null; then
        program=(docker-compose)
    else
        fail "there is neither 'docker compose' nor docker-compose: install the plugin docker-compose-v2 (2.24.4 or newer)"
    fi
}

# The command with every file of this stack.
compose() {
    local files=(-f "$here/compose.yaml") overlay
    for overlay in $(cat "$remembered" 2>/dev/null); do
        files+=(-f "$here/compose.$overlay.yaml")
    done
    [ -z "${OMNITRACE_COMPOSE_OVERRIDE:-}" ] || files+=(-f "$OMNITRACE_COMPOSE_OVERRIDE")
    for overlay in "$OMNITRACE_ENV_FILE".rollback.*.yaml; do
        [ ! -e "$overlay" ] || files+=(-f "$overlay")
    done
    "${program[@]}" --env-file "$OMNITRACE_ENV_FILE" "${files[@]}" "$@"
}

remember() {
    local overlay
    for overlay in "$@"; do
        [ -f "$here/compose.$overlay.yaml" ] || fail "no overlay '$overlay'; there are: $(cd "$here" && echo compose.*.yaml | sed 's/compose\.\([a-z-]*\)\.yaml/\1/g')"
    done
    echo "$*" >"$remembered"
    (umask 077 && of_this_shell >"$remembered.shell")
    rm -f "$OMNITRACE_ENV_FILE".rollback.*.yaml
}

# Settings may stand in the shell as well as in the file: a later command in another shell means the same stack.
of_this_shell() {
    local name
    for name in COMPOSE_PROJECT_NAME OMNITRACE_COMPOSE_OVERRIDE $(cat "$here"/compose*.yaml | grep -oE '\$\{[A-Z_]+' | tr -d '${' | grep -vxE 'OMNITRACE_(VERSION|REVISION)' | sort -u); do
        [ -z "${!name:-}" ] || printf '[ -n "${%s:-}" ] || export %s=%q\n' "$name" "$name" "${!name}"
    done
}

forget() { rm -f "$remembered" "$remembered.shell" "$OMNITRACE_ENV_FILE".rollback.*.yaml; }

# The host's port that a service's port is published at, as configured.
published() {
    compose config | awk -v service="$1" -v port="$2" '
        /^  [a-z-]+:$/ { name = $1 }
        $1 == "target:" { target = $2 }
        $1 == "published:" && name == service ":" && target == port { gsub(/"/, "", $2); print $2 }'
}

preflight() {
    local image ports skip=()
    # Read to the end: who writes into a closed pipe fails.
    image="$(compose config --images | awk '/(^|\/)omnitrace:/ { image = $1 } END { print image }')"
    ports="$(compose config | awk '$1 == "published:" { gsub(/"/, "", $2); printf "%s%s", separator, $2; separator = "," }')"
    # They are its own ports then.
    [ -z "$(compose ps -q gateway 2>/dev/null)" ] || skip=(--skip-ports)
    docker run --rm --network host --read-only --cap-drop ALL --security-opt no-new-privileges "$image" \
        doctor --preflight --ports "$ports" ${skip[@]+"${skip[@]}"} && return
    [ ${#skip[@]} -gt 0 ] || forget
    fail "not started: see the lines above"
}

gate() { compose run --rm --no-deps -T doctor "$@"; }

# The name of what is checked out: tag of its image, `service.version` of what runs in it.
checked_out() {
    local version
    version="$(sed -n 's/^version = "\(.*\)"$/\1/p' "$here/../Cargo.toml" | head -n 1)"
    echo "$version${revision:+-$revision}"
}

# The release that was started last.
last_release() { awk 'END { print $2 }' "$releases" 2>/dev/null || true; }

# Remembers a release, and the four before it: their images stay, so that there is something to go back to. The engine keeps one that runs.
keep_release() {
    local old
    { awk -v name="$1" '$2 != name' "$releases" 2>/dev/null || true; echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $1"; } >"$releases.all"
    for old in $(awk '{ name[NR] = $2 } END { for (i = 1; i <= NR - 5; i++) print name[i] }' "$releases.all"); do
        docker image rm "omnitrace:$old" "omnitrace-loadtest:$old" >/dev/null 2>&1 || true
    done
    tail -n 5 "$releases.all" >"$releases"
    rm "$releases.all"
}

up() {
    remember "$@"
    "$here/env.sh"
    case " $* " in *" tls "*) "$here/tls/certificates.sh" ;; esac
    compose build
    preflight
    keep_release "$OMNITRACE_VERSION"
    compose up -d --remove-orphans
    gate --timeout "${OMNITRACE_GATE_TIMEOUT:-180s}" || fail "the stack runs, but not every path is whole: look at 'just ps' and 'just logs <service>', then 'just doctor'"
    # Compose sees no change in a file that is mounted.
    compose_reload
    local scheme=http
    case " $* " in *" tls "*) scheme=https ;; esac
    cat <<URLS
Grafana       $scheme://localhost:$(published grafana 3000)   admin, GRAFANA_PASSWORD in $OMNITRACE_ENV_FILE
gateway       http://localhost:$(published gateway 8080)
Jaeger        http://localhost:$(published jaeger 16686)
Prometheus    http://localhost:$(published prometheus 9090)
Alertmanager  http://localhost:$(published alertmanager 9093)
OTLP          $scheme://localhost:$(published collector 4318) (HTTP), :$(published collector 4317) (gRPC)
URLS
}

# Stops and deletes the containers; with --volumes their data, too. An engine before 28.1 may count the endpoint of a
# container that is gone, and then keeps the network until the engine is restarted (moby/moby#43286). All the rest is
# deleted by then, and the next `up` takes that network: this is said, and is no failure.
take_down() {
    local everything=(compose --profile '*' down --remove-orphans "$@") networks
    "${everything[@]}" && return
    say "not everything was deleted: tried once more"
    sleep 2
    "${everything[@]}" && return
    networks="$(ours network ls)"
    [ -n "$networks" ] && [ -z "$(ours container ls --all)" ] && { [ "${1:-}" != --volumes ] || [ -z "$(ours volume ls)" ]; } ||
        fail "not everything was deleted: the lines of docker compose above say why"
    say "all is deleted but the network $networks, where this engine counts a container that is gone: 'just up' uses the network" \
        "again, and a restart of the engine lets go of it (docs/DEPLOY.md, 'The network stays')"
}

# The engine's own list of what belongs to this project: `container ls --all`, `volume ls`, `network ls`.
ours() {
    local project
    project="$(compose config | awk '$1 == "name:" && !name { name = $2 } END { print name }')"
    docker "$@" --quiet --filter "label=com.docker.compose.project=$project"
}

# `fault` reaches a service by its admin address; without a service, all three.
fault() {
    local action="${1:-list}" service
    shift || true
    case "${1:-}" in
        gateway | data | downstream)
            compose run --rm --no-deps -T fault "$action" "$@" --admin "http://$1:9080"
            return
            ;;
        "" | -*) [ "$action" != set ] || fail "fault set: which service? gateway, data or downstream" ;;
        *) fail "fault $action: no service '$1'; there are: $services" ;;
    esac
    for service in $services; do
        compose run --rm --no-deps -T fault "$action" "$service" "$@" --admin "http://$service:9080"
    done
}

# shellcheck source=deploy/repair.sh
. "$here/repair.sh"

command="${1:-}"
shift || true
case "$command" in
    up | down | reset) need_engine ;;
    ps | health | doctor | logs | alerts | silence | query | sql | outbox | log-level | restart | reload | rollback | fault | compose) ;;
    *) sed -n '2,18s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
# shellcheck disable=SC1090 # what `up` has written
[ "$command" = up ] || [ ! -e "$remembered.shell" ] || . "$remembered.shell"
[[ "$command" != @(down|reset) || -e "$OMNITRACE_ENV_FILE" ]] || fail "nothing was started here yet: just up"
# Named and not guessed: another revision may be checked out than the one that runs.
[ -n "${OMNITRACE_VERSION:-}" ] || case "$command" in
    up) OMNITRACE_VERSION="$(checked_out)" ;;
    *) OMNITRACE_VERSION="$(last_release)" ;;
esac
export OMNITRACE_VERSION
case "$command" in
    up) up "$@" ;;
    down)
        take_down
        forget
        ;;
    reset)
        take_down --volumes
        forget
        say "every trace, metric, log line and order is deleted; the secrets in $OMNITRACE_ENV_FILE stay"
        ;;
    *) repair "$command" "$@" ;;
esac
