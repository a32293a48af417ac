#!/usr/bin/env bash
# The standard stack without images, for tests: builds or downloads each tool once, and keeps it in a cache.
#
#   deploy/tools/build.sh [tool …]     # default: all of the standard stack; prints the directory that holds them
#
# collector, jaeger, victorialogs, victoriametrics   built by Go (1.26 or newer), from the module proxy
# prometheus, promtool, alertmanager, amtool, postgres_exporter, blackbox_exporter, docker-compose
#                          Debian packages, unpacked, not installed (needs apt-get; amd64 and arm64)
#
# Only where they are named (kube-apiserver takes 10 minutes more):
# cassandra                jars from Maven Central, copied by Maven; it runs with Java 17
# kube-apiserver, helm     built by Go
# etcd, kubectl            Debian packages
#
# OMNITRACE_CACHE_DIR   where the tools are kept (default: $XDG_CACHE_HOME/omnitrace, ~/.cache/omnitrace)
# OMNITRACE_DEBIAN_SUITE   the suite whose packages are taken (default: forky)
# OMNITRACE_DEBIAN_MIRROR  where they are taken from (default: the mirror in the machine's own apt sources)
#
# These are test tools: never linked into a service, never shipped. A cold build takes about 10 minutes on two cores.
# None is under the AGPL: nothing builds Loki or Grafana, which only Compose runs, as images that their users pull.
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
cache="${OMNITRACE_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/omnitrace}/tools"
suite="${OMNITRACE_DEBIAN_SUITE:-forky}"
bin="$cache/bin"
builder=go.opentelemetry.io/collector/cmd/builder@v0.158.0

say() { echo "build.sh: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

# Tries a command that uses the network up to three times: a registry's hiccup is not a failure.
patiently() {
    local try
    for try in 1 2 3; do
        "$@" >&2 && return
        say "attempt $try of 3 failed: $*"
        sleep $((try * 5))
    done
    return 1
}

# The name of a tool's directory says what it was made from, so that a change builds it anew.
stamp() { cat "$@" | sha256sum | cut -c1-16; }

need_go() {
    command -v go >/dev/null || fail "Go is needed to build $1: install Go 1.26 or newer from https://go.dev/dl"
}

# Builds $2 with the function $3 into a directory named after the stamp $1, unless it is there.
once() {
    local directory="$cache/$2-$1" tool="$2"
    if [ ! -x "$directory/$tool" ]; then
        say "building $tool (some minutes, once)"
        rm -rf "$directory.part"
        mkdir -p "$directory.part"
        "$3" "$directory.part/$tool"
        rm -rf "$directory"
        mv "$directory.part" "$directory"
    fi
    ln -sfn "$directory/$tool" "$bin/$tool"
}

build_module() {
    need_go "$1"
    (cd "$here/$1" && CGO_ENABLED=0 patiently go build -buildvcs=false -trimpath -ldflags="-s -w ${4:-}" -o "$3" "$2")
}
build_jaeger() { build_module jaeger github.com/jaegertracing/jaeger/cmd/jaeger "$1"; }
build_victorialogs() { build_module victorialogs github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs "$1"; }
build_kube-apiserver() {
    local version
    need_go kube-apiserver
    version="$(cd "$here/kubernetes" && go list -m -f '{{ .Version }}' k8s.io/kubernetes)"
    # A build that is not Kubernetes' own calls itself v0.0.0, which Helm takes for the cluster's version.
    build_module kubernetes k8s.io/kubernetes/cmd/kube-apiserver "$1" "-X k8s.io/component-base/version.gitVersion=$version"
}
build_helm() { build_module helm helm.sh/helm/v4/cmd/helm "$1"; }

build_victoriametrics() { build_module victoriametrics github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics "$1"; }

# Java's class path with a program in front of it.
build_cassandra() {
    command -v mvn >/dev/null || fail "Maven is needed to get cassandra: install it and a Java 17 (Debian: apt install maven openjdk-17-jdk-headless)"
    local directory="$(dirname "$1")"
    cp "$here"/cassandra/* "$directory"
    patiently mvn --quiet --batch-mode --file "$directory/pom.xml" dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$directory/lib"
}

build_collector() {
    local work="$1.work"
    need_go collector
    mkdir -p "$work"
    GOBIN="$work" patiently go install "$builder"
    sed "s|^dist:|dist:\n  output_path: $work/out|" "$here/../collector/manifest.yaml" >"$work/manifest.yaml"
    CGO_ENABLED=0 patiently "$work/builder" --config "$work/manifest.yaml" --ldflags='-s -w'
    mv "$work/out/otelcol-omnitrace" "$1"
    rm -rf "$work"
}

collector() { once "$(stamp "$here/../collector/manifest.yaml")" otelcol build_collector; }
jaeger() { once "$(stamp "$here"/jaeger/go.*)" jaeger build_jaeger; }
victorialogs() { once "$(stamp "$here"/victorialogs/go.*)" victorialogs build_victorialogs; }
kube-apiserver() { once "$(stamp "$here"/kubernetes/go.*)" kube-apiserver build_kube-apiserver; }
helm() { once "$(stamp "$here"/helm/go.*)" helm build_helm; }
victoriametrics() { once "$(stamp "$here"/victoriametrics/go.*)" victoriametrics build_victoriametrics; }
cassandra() { once "$(stamp "$here"/cassandra/*)" cassandra build_cassandra; }

# Package, file in it, name of the tool.
packages="\
prometheus usr/bin/prometheus prometheus
promtool usr/bin/promtool promtool
prometheus-alertmanager usr/bin/prometheus-alertmanager alertmanager
prometheus-alertmanager usr/bin/amtool amtool
prometheus-postgres-exporter usr/bin/prometheus-postgres-exporter postgres_exporter
prometheus-blackbox-exporter usr/bin/prometheus-blackbox-exporter blackbox_exporter
docker-compose usr/libexec/docker/cli-plugins/docker-compose docker-compose"
kubernetes_packages="\
etcd-server usr/bin/etcd etcd
kubectl usr/bin/kubectl kubectl"

package_of() { grep " $1\$" <<<"$packages"$'\n'"$kubernetes_packages"; }

# An apt of its own: the machine's sources name the mirror; its lists and installed packages are not changed.
apt() {
    local command="$1" root="$cache/apt"
    shift
    "$command" -o Dir::Etc::sourcelist="$root/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$root/lists" -o Dir::Cache="$root/cache" -o Dir::State::status="$root/status" \
        -o APT::Sandbox::User="$(id -un)" -qq "$@"
}

refresh_apt() {
    local root="$cache/apt" mirror
    [ ! -e "$root/fresh" ] || return 0
    mkdir -p "$root/lists/partial" "$root/cache/archives/partial"
    : >"$root/status"
    mirror="$("$here/debian-mirror.sh")"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$root/sources.list"
    patiently apt apt-get update
    : >"$root/fresh"
}

debian() {
    local tool="$1" package path
    read -r package path _ < <(package_of "$tool")
    local directory="$cache/$package-$suite"
    if [ ! -x "$directory/$path" ]; then
        command -v apt-get >/dev/null || fail "$tool comes from Debian's $package and there is no apt-get: put $tool into a directory and name it in OMNITRACE_TOOLS"
        say "downloading $package"
        refresh_apt
        rm -rf "$directory.part"
        mkdir -p "$directory.part"
        (cd "$directory.part" && patiently apt apt-get download "$package" && dpkg-deb -x ./*.deb . && rm ./*.deb)
        [ -x "$directory.part/$path" ] || fail "Debian's $package of the suite $suite has no $path"
        rm -rf "$directory"
        mv "$directory.part" "$directory"
    fi
    ln -sfn "$directory/$path" "$bin/$tool"
    [ "$tool" != alertmanager ] || templates "$directory"
}

# Debian's build has the place of its default templates compiled in.
templates() {
    local place=/usr/share/prometheus/alertmanager
    [ ! -e "$place/default.tmpl" ] || return 0
    { mkdir -p "$place" && cp "$1$place"/*.tmpl "$place"; } 2>/dev/null ||
        fail "Alertmanager reads its templates from $place: sudo mkdir -p $place && sudo cp $1$place/*.tmpl $place"
}

mkdir -p "$bin"
# Two that build at the same time would tread on each other.
exec 9>"$cache/lock"
flock 9
((${#})) || set -- collector jaeger victorialogs victoriametrics $(awk '{ print $3 }' <<<"$packages")
for tool in "$@"; do
    case "$tool" in
        collector | jaeger | victorialogs | victoriametrics | cassandra | kube-apiserver | helm) "$tool" ;;
        *) package_of "$tool" >/dev/null || fail "no such tool: $tool (see the head of this file)"
            debian "$tool" ;;
    esac
done
echo "$bin"
