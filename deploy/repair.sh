# Sourced by stack.sh: what the runbooks tell you to do. Each command works on the stack that runs here: that of `just up`,
# or, without Docker, that of `omnitrace up` (`just demo`), where `omnitrace` itself does it.
# shellcheck shell=bash disable=SC2154 # here, remembered, releases: of stack.sh

demo_dir="${OMNITRACE_DATA_DIR:-$here/../.omnitrace}"
services="gateway data downstream"

# The process of `omnitrace up`, which holds its lock for as long as it lives.
demo_pid() {
    local pid
    pid="$(cat "$demo_dir/up.lock" 2>/dev/null)" || return 0
    flock --nonblock "$demo_dir/up.lock" true || echo "$pid"
}

# compose, or demo.
which_stack() {
    local found=""
    [ ! -e "$remembered" ] || found="compose"
    [ -z "$(demo_pid)" ] || found="$found demo"
    case "${OMNITRACE_STACK:-${found# }}" in
        compose) echo compose ;;
        demo) [ -n "$(demo_pid)" ] || fail "no 'omnitrace up' runs in $demo_dir (OMNITRACE_DATA_DIR names another directory)"; echo demo ;;
        "") fail "nothing runs here. Start it: 'just up' with Docker, 'just demo' without (OMNITRACE_DATA_DIR: its directory, if it is not .omnitrace)" ;;
        *) fail "'just up' was started here, and 'omnitrace up' runs, too: OMNITRACE_STACK=compose or OMNITRACE_STACK=demo says which one you mean" ;;
    esac
}

# One command of the runbooks. Nothing but a query reads what is typed: of a pasted block the first command would swallow the rest.
repair() {
    local command="$1" stack
    shift
    stack="$(which_stack)" || exit 1
    [ "$stack" = demo ] || need_engine
    case "$command $*" in
        "query " | "query --logs" | "compose "*) "${stack}_own" "$command" "$@" ;;
        *) "${stack}_own" "$command" "$@" </dev/null ;;
    esac
}

# ------------------------------------------------------------------------------------------------- without Docker

demo_own() {
    local command="$1"
    shift
    case "$command" in
        ps) demo_omnitrace health "$@" ;;
        logs) demo_logs "$@" ;;
        silence) demo_silence "$@" ;;
        restart) demo_omnitrace restart "$(demo_part "${1:-}")" ;;
        reload) demo_reload ;;
        compose) fail "compose: no stack of 'just up' runs here" ;;
        rollback) demo_rollback "$@" ;;
        *) demo_omnitrace "$command" "$@" ;;
    esac
}

# The very program that runs, also when a newer one was built in its place.
demo_omnitrace() {
    local program
    program="/proc/$(demo_pid)/exe"
    [ -e "$program" ] || program="omnitrace"
    "$program" "$@" --data-dir "$demo_dir"
}

demo_silence() {
    silence_words "$@"
    local matcher options=(--matcher "alertname=$1" --for "$2" --comment "$3")
    for matcher in "${@:4}"; do options+=(--matcher "$matcher"); done
    demo_omnitrace alerts silence "${options[@]}"
}

# What the pages call by the standard stack's names. `up --standard` has these parts.
demo_part() {
    case "$1" in
        collector | jaeger | loki | prometheus | alertmanager)
            if [[ "$(demo_omnitrace status)" == *$'\n'"  $1 "* ]]; then
                echo "$1"
                return
            fi
            say "$1: without Docker that is the console"
            echo console
            ;;
        *) echo "$1" ;;
    esac
}

demo_logs() {
    local argument options=() lines=(--lines 200)
    for argument in "$@"; do
        case "$argument" in
            -n* | --lines*) lines=() && options+=("$argument") ;;
            -* | [0-9]*) options+=("$argument") ;;
            *) options+=("$(demo_part "$argument")") ;;
        esac
    done
    demo_omnitrace logs "${lines[@]}" "${options[@]}"
}

# Targets are read again by themselves. The console keeps traces and metrics in memory, so it is asked for by name.
demo_reload() {
    demo_omnitrace restart herald
    say "herald has read its secrets. Other rules (--rules) are the console's, which then forgets its traces: just restart console. With --standard they are Prometheus's: just restart prometheus"
}

# All its parts are one program: there is no other release to start.
demo_rollback() {
    known_service rollback "${1:-}"
    demo_omnitrace fault clear "$1" bad_release 2>/dev/null ||
        fail "rollback: without Docker all parts are one program. Stop it with Ctrl-C, 'git checkout' the release before, 'just demo'; orders stay"
    say "the fault bad_release of $1 is off. Another release: stop it with Ctrl-C, 'git checkout' the release before, 'just demo'; orders stay"
}

# -------------------------------------------------------------------------------------------------- Docker Compose

compose_own() {
    local command="$1"
    shift
    case "$command" in
        ps) compose_ps ;;
        logs) compose logs --tail 200 "$@" ;;
        doctor) gate "$@" ;;
        fault) fault "$@" ;;
        health) tool health --url http://gateway:9080 --url http://data:9080 --url http://downstream:9080 "$@" ;;
        query) tool query "$@" ;;
        log-level) known_service log-level "${1:-}" && tool log-level "$@" --admin "http://$1:9080" ;;
        sql) compose exec -T postgres psql -X -U postgres -d omnitrace -c "${1:?sql: which statement?}" ;;
        # A container of its own: data itself may be down.
        outbox) compose run --rm --no-deps -T data outbox "$@" ;;
        alerts) compose exec -T -e "USER=${USER:-operator}" -e "HERALD_URL=$(herald_url)" herald /usr/local/bin/omnitrace alerts "$@" ;;
        compose) compose "$@" ;;
        silence) compose_silence "$@" ;;
        restart) compose_restart "$@" ;;
        reload) compose_reload "$@" ;;
        rollback) compose_rollback "$@" ;;
    esac
}

# Our own program, with addresses and certificates of every backend.
tool() { compose run --rm --no-deps -T --entrypoint /usr/local/bin/omnitrace doctor "$@"; }

herald_url() {
    case " $(cat "$remembered") " in
        *" tls "*) echo https://127.0.0.1:9095 ;;
        *) echo http://127.0.0.1:9095 ;;
    esac
}

# Compose's table does not say who was restarted, or killed for want of memory.
compose_ps() {
    compose ps --all
    compose ps --all --quiet | xargs -r docker inspect --format \
        '{{if or .RestartCount .State.OOMKilled}}{{.Name}}: restarted {{.RestartCount}} times, out of memory: {{.State.OOMKilled}}, last started {{.State.StartedAt}}{{println}}{{end}}' | sed '/^$/d'
}

# Alertmanager's own silence: it holds back whatever goes out, herald's notifications too.
compose_silence() {
    silence_words "$@"
    compose exec -T alertmanager amtool --alertmanager.url http://127.0.0.1:9093 silence add \
        --author "${USER:-operator}" --duration "$2" --comment "$3" "alertname=$1" "${@:4}"
}

silence_words() { [ $# -ge 3 ] || fail "usage: just silence ALERT TIME WHY [LABEL=VALUE …], for example: just silence LogStorm 2h 'load test until 4' service=data"; }

known_service() {
    case " $services " in
        *" ${2:- } "*) ;;
        *) fail "$1: no service '${2:-}'; there are: $services" ;;
    esac
}

# What can be restarted: the rest runs once and ends.
parts() { compose config --services | grep -vxE 'volumes|alertmanager-config' | sort | tr '\n' ' '; }

known_part() {
    case " $(parts)" in
        *" ${2:- } "*) ;;
        *) fail "$1: no part '${2:-}'; there are: $(parts)" ;;
    esac
}

# The same container, which keeps its output; or one with the same overlays, if there is none. No other is touched.
compose_restart() {
    known_part restart "${1:-}"
    [ -z "$(compose ps --quiet --status running "$1")" ] || compose restart --no-deps "$1"
    wait_for "$1"
}

# One that waits for others is not told to wait, and none of them is started.
wait_for() {
    compose up --detach --no-deps --no-recreate --no-build --wait --wait-timeout 120 "$1" ||
        fail "$1 was started and is not well: just logs $1"
    say "$1 runs"
}

# Whatever a person changed since a part started, into that part: configuration, rules, secrets, certificates. What can be
# checked is checked first, so a mistake changes nothing. A part whose files are as they were is not touched.
compose_reload() {
    local part running
    running="$(compose ps --services --status running)"
    for part in "$@"; do
        grep -qx -- "$part" <<<"$running" || fail "reload: '$part' does not run; there are: $(tr '\n' ' ' <<<"$running")"
    done
    # shellcheck disable=SC2086 # names have no spaces
    [ $# -gt 0 ] || set -- $running
    for part in "$@"; do
        case "$part" in
            postgres) ;; # reads its file once in a lifetime
            alertmanager) reload_alertmanager ;;
            *) [ -z "$(changed "$part")" ] || take_files "$part" ;;
        esac
    done
}

# Alertmanager expands no variables, and is told of no change: its file is made anew from the secrets that are there now.
reload_alertmanager() {
    "$here/env.sh"
    compose run --rm --no-deps -T alertmanager-config || fail "alertmanager goes on with what it has: the line above says what is wrong"
    [ -z "$(changed alertmanager /etc/omnitrace/tls)" ] || compose_restart alertmanager
    compose exec -T alertmanager wget -q -O - --post-data '' http://127.0.0.1:9093/-/reload ||
        fail "alertmanager refuses the new configuration, and goes on with what it has: just logs alertmanager"
    say "alertmanager has read its configuration"
}

take_files() {
    check_files "$1" || fail "$1 goes on with what it has: the lines above say what is wrong"
    # With the overlay remote-write it reads a file that is made when it starts.
    if [ "$1" = prometheus ] && ! grep -qw remote-write "$remembered" && sees_its_files prometheus; then
        compose kill --signal HUP prometheus
        say "prometheus has read its configuration and its rules"
    else
        compose_restart "$1"
    fi
}

check_files() {
    local name configs=()
    case "$1" in
        prometheus) compose run --rm --no-deps -T --entrypoint /bin/promtool prometheus check config --lint=none /etc/prometheus/prometheus.yml ;;
        collector)
            for name in collector sampling filelog tls; do configs+=("--config=/etc/otelcol/$name.yaml"); done
            compose run --rm --no-deps -T collector validate "${configs[@]}"
            ;;
    esac
}

# What a container has mounted of this machine: source and target.
mounts() { docker inspect --format '{{range .Mounts}}{{if eq .Type "bind"}}{{.Source}}|{{.Destination}}{{println}}{{end}}{{end}}' "$1"; }

# The files of a part that are newer than its process, of one target or of all. Who adds, moves or removes a file changes its directory.
changed() {
    local id since source target
    id="$(compose ps --quiet "$1")"
    since="$(docker inspect --format '{{.State.StartedAt}}' "$id")"
    while IFS='|' read -r source target; do
        case "$target" in
            "" | /var/lib/docker/containers | /etc/grafana/dashboards) ;; # seen without being told
            "${2:-$target}") find "$source" -newermt "$since" 2>/dev/null ;;
        esac
    done < <(mounts "$id")
}

# A file that was mounted alone and then replaced, as git and most editors do, is seen as it was until the container starts again.
sees_its_files() {
    local source target
    while IFS='|' read -r source target; do
        [ ! -f "$source" ] || compose exec -T "$1" cat "$target" </dev/null | cmp -s - "$source" || return 1
    done < <(mounts "$(compose ps --quiet "$1")")
}

# What `just up` has started here, the newest first; it keeps the images of the last few.
releases() { awk '{ print $2 }' "$releases" 2>/dev/null | tac | tr '\n' ' '; }

# One service only. Remembered by the other commands, until the next `just up`.
compose_rollback() {
    known_service rollback "${1:-}"
    local service="$1" version="${2:-}" before
    read -r _ before _ < <(releases) || true
    version="${version:-$before}"
    [ -n "$version" ] || fail "rollback: nothing was started before this release. Name an image of omnitrace (docker image ls omnitrace): just rollback $service VERSION"
    docker image inspect "omnitrace:$version" >/dev/null 2>&1 || fail "rollback: there is no image omnitrace:$version; started here were: $(releases)"
    echo "services: {$service: {image: 'omnitrace:$version', pull_policy: never, build: !reset null}}" >"$OMNITRACE_ENV_FILE.rollback.$service.yaml"
    compose up --detach --no-deps --wait --wait-timeout 120 "$service" ||
        fail "$service $version was started and is not well: just logs $service. 'just rollback $service VERSION' takes another: $(releases)"
    say "$service runs release $version, until the next 'just up'"
}
