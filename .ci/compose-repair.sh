# Sourced by compose-up.sh, while its stack runs: what repairs a stack touches the part that it names and no other, and what
# a person changes arrives.
# shellcheck shell=bash disable=SC2154 # stack, work: of compose-up.sh

# Container, and since when it runs, of every part but those of the names given.
others() {
    local line
    docker ps --no-trunc --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
        --format '{{.Label "com.docker.compose.service"}} {{.ID}}' | sort | while read -r line; do
        case " $* " in
            *" ${line% *} "*) ;;
            *) echo "$line $(docker inspect --format '{{.State.StartedAt}}' "${line#* }")" ;;
        esac
    done
}

container() { echo "$COMPOSE_PROJECT_NAME-$1-1"; }
of() { docker inspect --format "$2" "$(container "$1")"; }

# Runs a command, after which every part but those before `--` is the container that it was, and has run since then.
touches_only() {
    local parts=() before
    while [ "$1" != -- ]; do parts+=("$1") && shift; done
    shift
    before="$(others "${parts[@]}")"
    "$@" || fail "$*"
    [ "$(others "${parts[@]}")" = "$before" ] || fail "$* touches others: $(diff <(echo "$before") <(others "${parts[@]}"))"
}

restarts_one() {
    local id started mounts
    id="$(of data '{{.Id}}')" started="$(of data '{{.State.StartedAt}}')"
    mounts="$(of data '{{range .Mounts}}{{.Destination}} {{end}}')"
    touches_only data -- "$stack" restart data
    [ "$(of data '{{.Id}}')" = "$id" ] || fail "restart makes another container, whose output is empty"
    [ "$(of data '{{.State.StartedAt}}')" != "$started" ] || fail "restart does not restart"
    # As after a crash of the engine, or somebody's `docker rm`: in another shell, without the settings of this one.
    docker rm --force "$(container data)" >/dev/null
    touches_only data -- env --unset=OMNITRACE_COMPOSE_OVERRIDE --unset=GATEWAY_PORT "$stack" restart data
    [ "$(of data '{{range .Mounts}}{{.Destination}} {{end}}')" = "$mounts" ] || fail "the new container has lost an overlay"
    ! "$stack" restart nothing 2>"$work/said" && grep -q "no part 'nothing'; there are: .*data" "$work/said" || fail "an unknown part: $(cat "$work/said")"
}

rolls_back_one() {
    local image
    image="$(of data '{{.Config.Image}}')"
    docker tag omnitrace-stand-in/omnitrace:0 omnitrace:0.0.1-before
    ! "$stack" rollback data 0.0.0-never 2>"$work/said" && grep -q "no image omnitrace:0.0.0-never" "$work/said" || fail "an unknown release: $(cat "$work/said")"
    touches_only data -- "$stack" rollback data
    [ "$(of data '{{.Config.Image}}')" = omnitrace:0.0.1-before ] || fail "data does not run the release before: $(of data '{{.Config.Image}}')"
    docker rm --force "$(container data)" >/dev/null
    touches_only data -- "$stack" restart data
    [ "$(of data '{{.Config.Image}}')" = omnitrace:0.0.1-before ] || fail "a restart forgets the roll-back"
    rm "$OMNITRACE_ENV_FILE.rollback.data.yaml"
    touches_only data -- "$stack" compose up --detach --no-deps --wait data
    [ "$(of data '{{.Config.Image}}')" = "$image" ] || fail "the roll-back does not end"
    docker image rm omnitrace:0.0.1-before >/dev/null
}

of_alertmanager() { docker exec "$(container alertmanager)" wget -q -O - "http://127.0.0.1:9093/api/v2/$1"; }
of_prometheus() { docker exec "$(container prometheus)" wget -q -O - "http://127.0.0.1:9090/api/v1/$1"; }

# A secret as a person writes it: in an editor, that is by rename, and for nobody else to read.
write_secret() {
    (umask 077 && echo "$2" >"$work/new-secret")
    mv "$work/new-secret" "$OMNITRACE_SECRETS_DIR/receivers/$1"
}

takes_secrets() {
    ! of_alertmanager status | grep -q url_file.*webhook_url || fail "there is a webhook before its secret"
    write_secret webhook_url http://127.0.0.1:9/never
    touches_only herald -- "$stack" reload
    of_alertmanager status | grep -q webhook_url || fail "a new secret does not reach Alertmanager"
    touches_only -- "$stack" reload
    write_secret webhook_url 'not an address'
    ! "$stack" reload alertmanager 2>"$work/said" || fail "a secret that is no address is taken"
    of_alertmanager status | grep -q webhook_url || fail "a mistake takes a receiver away"
    rm "$OMNITRACE_SECRETS_DIR/receivers/webhook_url"
    touches_only herald -- "$stack" reload
    ! of_alertmanager status | grep -q webhook_url || fail "a secret that is gone stays in Alertmanager"
}

# The file of the override; it is mounted alone, as the real one is.
takes_configuration() {
    local file="$OMNITRACE_COMPOSE_OVERRIDE.prometheus.yml"
    cp "$file" "$work/prometheus.yml"
    { cat "$work/prometheus.yml" && printf '  - job_name: from_a_reload\n    static_configs:\n      - targets: [prometheus:9090]\n'; } >"$file"
    touches_only -- "$stack" reload prometheus
    eventually "a job that was written into the file does not reach Prometheus" eval 'of_prometheus targets | grep -q from_a_reload'
    echo "scrape_configs: nonsense" >"$file.new" && chmod 644 "$file.new" && mv "$file.new" "$file"
    ! "$stack" reload 2>"$work/said" || fail "a broken file is taken"
    of_prometheus targets | grep -q from_a_reload || fail "a broken file takes Prometheus down"
    mv "$work/prometheus.yml" "$file"
    touch "$file"
    touches_only prometheus -- "$stack" reload
    eventually "a file that was replaced does not reach Prometheus" eval '! of_prometheus targets | grep -q from_a_reload'
}

repairs() {
    restarts_one
    rolls_back_one
    takes_secrets
    takes_configuration
    echo "compose-up.sh: restart, rollback and reload touch one part, and keep overlays and settings; what is changed arrives, and a mistake changes nothing"
}
