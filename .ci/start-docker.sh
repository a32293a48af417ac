#!/usr/bin/env bash
# Makes sure that a Docker engine answers, on a machine with or without one: installs Debian's docker.io if there
# is none, and starts it by hand where no init system does.
set -euo pipefail

log="${TMPDIR:-/tmp}/dockerd.log"

answers() {
    docker version >/dev/null 2>&1
}

fail() {
    echo "start-docker.sh: $*" >&2
    exit 1
}

# Waits until the engine answers, or the given process has ended.
wait_for() {
    local deadline=$((SECONDS + 60))
    until answers; do
        kill -0 "$1" 2>/dev/null || return 1
        ((SECONDS < deadline)) || return 1
        sleep 0.2
    done
}

# A process of its own session, so that it outlives this script; its output goes to a file, so that no pipe of a
# caller stays open.
start() {
    echo "starting dockerd $*"
    setsid dockerd "$@" >"$log" 2>&1 </dev/null &
    wait_for $!
}

if ! command -v dockerd >/dev/null && ! answers; then
    command -v apt-get >/dev/null || fail "no Docker engine, and no apt-get to install one; install Docker"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends docker.io iptables >/dev/null
fi

if ! answers; then
    [ -z "${DOCKER_HOST:-}" ] || fail "DOCKER_HOST is $DOCKER_HOST, where no engine answers; start that one, or unset it"
    [ "$(id -u)" = 0 ] || fail "no Docker engine answers, and only root may start one: sudo systemctl start docker"
    if [ -d /run/systemd/system ]; then
        systemctl start docker
        wait_for $$ || fail "the engine does not answer: see journalctl -u docker"
    else
        # A kernel or sandbox may lack netfilter or overlayfs: published ports work without the first
        # (through docker-proxy), images without the second.
        start || start --iptables=false --ip6tables=false ||
            start --iptables=false --ip6tables=false --storage-driver=vfs || {
            tail -n 20 "$log" >&2
            fail "dockerd does not start, its log is in $log"
        }
    fi
fi

docker version --format 'Docker engine {{.Server.Version}} answers'
