#!/usr/bin/env bash
# Programs with the official OpenTelemetry SDKs of other languages: each calls a URL in a span of its own.
#
#   sdk.sh install [language …]   # python, node, go, java (default: all), into target/sdks and node/node_modules
#   sdk.sh run LANGUAGE URL       # where it sends its traces, metrics and logs is said by the OTEL_ variables alone
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
built="$(cd "$here/../../../.." && pwd)/target/sdks"

agent_version=2.33.1
agent_sha256=e43a270df53c6f423e0ab157be9c27ccc01d5dc3232e162fe54777573db2f149
agent="$built/opentelemetry-javaagent-$agent_version.jar"

fail() {
    echo "sdk.sh: $*" >&2
    exit 1
}

need() {
    command -v "$1" >/dev/null || fail "$1 is missing: install $2"
}

install_python() {
    need python3 "Python 3.10 or newer with venv (Debian: python3-venv)"
    [ -x "$built/python/bin/pip" ] || python3 -m venv --clear "$built/python"
    "$built/python/bin/pip" install -q --disable-pip-version-check -r "$here/python/requirements.txt"
}

run_python() {
    exec "$built/python/bin/opentelemetry-instrument" "$built/python/bin/python" "$here/python/caller.py" "$1"
}

install_node() {
    need node "Node 18.19 or newer (Debian: nodejs)"
    need npm "Node's npm (Debian: npm)"
    npm ci --prefix "$here/node" --ignore-scripts --no-audit --no-fund
}

# Without the cloud detectors, which wait for addresses that only a cloud has.
run_node() {
    cd "$here/node"
    OTEL_NODE_RESOURCE_DETECTORS=env,host,process exec node --require @opentelemetry/auto-instrumentations-node/register caller.cjs "$1"
}

install_go() {
    need go "Go 1.26 or newer (https://go.dev/dl)"
    (cd "$here/go" && CGO_ENABLED=0 go build -mod=readonly -o "$built/go-caller" .)
}

run_go() {
    exec "$built/go-caller" "$1"
}

install_java() {
    need javac "a JDK, 11 or newer (Debian: default-jdk-headless)"
    need mvn "Maven (Debian: maven)"
    mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
        "-Dartifact=io.opentelemetry.javaagent:opentelemetry-javaagent:$agent_version" "-DoutputDirectory=$built"
    sha256sum --check --quiet <<<"$agent_sha256  $agent" || fail "$agent is not the file that was tried: remove it and try again"
    javac -d "$built/java" "$here/java/Caller.java"
}

# The agent makes a span of the method that the variable names.
run_java() {
    OTEL_INSTRUMENTATION_METHODS_INCLUDE='Caller[visit]' exec java "-javaagent:$agent" -cp "$built/java" Caller "$1"
}

known() {
    declare -F "install_$1" >/dev/null || fail "there is no program in $1; give some of: python node go java"
}

case "${1:-}" in
    install)
        shift
        ((${#})) || set -- python node go java
        for language in "$@"; do known "$language"; done
        mkdir -p "$built"
        for language in "$@"; do "install_$language"; done
        ;;
    run)
        known "${2:?LANGUAGE}"
        "run_$2" "${3:?URL}"
        ;;
    *) fail "install or run? See the head of this file" ;;
esac
