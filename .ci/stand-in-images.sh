#!/usr/bin/env bash
# Images for a machine with a Docker engine and no registry: the programs of build.sh and our own executable, each in a
# root file system of its own with the user, directories and entrypoint of the image that it stands for.
#
#   .ci/stand-in-images.sh <file>     # writes a compose override that names them
#
# OMNITRACE_BIN   the executable (default: target/debug/omnitrace)
# STAND_IN_TLS    1: for the overlay `tls`, whose certificates are there
#
# They prove that compose.yaml starts, that read-only roots, users, limits, volumes and health checks fit together, and that
# data arrives. In Loki's place stands the console, which does not read deploy/loki; with TLS socat asks for the certificates.
# What the real images hold otherwise, Loki and Grafana, only the real images can show (docs/DEPLOY.md).
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
override="${1:?usage: stand-in-images.sh <override file>}"
executable="${OMNITRACE_BIN:-$here/../target/debug/omnitrace}"

fail() {
    echo "stand-in-images.sh: $*" >&2
    exit 1
}

docker version >/dev/null 2>&1 || fail "no Docker engine answers; start one first (.ci/start-docker.sh)"
[ -x "$executable" ] || fail "no $executable: cargo build -p omnitrace, or name one in OMNITRACE_BIN"
tools="${OMNITRACE_TOOLS:-$("$here/../deploy/tools/build.sh")}"

work="$(mktemp -d)"
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt-get download -qq -o APT::Sandbox::User="$(id -un)" busybox-static >/dev/null && dpkg-deb -x ./busybox-static*.deb busybox) ||
    fail "busybox-static is not to be had: apt-get update"
busybox="$(find "$work/busybox" -path '*bin/busybox' -type f)"

# A root with the program at $2 and what it is linked with.
root() {
    local root="$1" path="$2" program="$3" library
    mkdir -p "$root/etc" "$root/tmp" "$root$(dirname "$path")"
    chmod 1777 "$root/tmp"
    cp -L "$program" "$root$path"
    # A static program has none.
    { ldd "$program" 2>/dev/null | grep -o '/[^ ]*' || true; } | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done
    printf 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n' >"$root/etc/passwd"
    printf 'root:x:0:\nnobody:x:65534:\n' >"$root/etc/group"
}

# The tools of an image that is based on BusyBox or Alpine.
applets() {
    mkdir -p "$1/bin"
    cp "$busybox" "$1/bin/busybox"
    ln -s busybox "$1/bin/wget"
    ln -s busybox "$1/bin/cat"
}

owned() {
    mkdir -p "$1$3"
    chown -R "$2:$2" "$1$3"
}

import() {
    local name="$1" root="$2" user="$3" entrypoint="$4" previous
    previous="$(docker image inspect --format '{{.Id}}' "omnitrace-stand-in/$name:0" 2>/dev/null || true)"
    tar -c -C "$root" --numeric-owner . | docker import --change "USER $user" \
        --change "ENV PATH=/usr/local/bin:/usr/bin:/bin" --change "ENTRYPOINT [\"$entrypoint\"]" \
        - "omnitrace-stand-in/$name:0" >/dev/null
    # It has lost its name to the new one. A container may still use it.
    [ -z "$previous" ] || docker image rm "$previous" >/dev/null 2>&1 || true
    rm -rf "$root"
}

# image, tool, path in the image, user, directory that the image hands to that user (or -), base
while read -r name tool path user directory base; do
    root "$work/$name" "$path" "$tools/$tool"
    [ "$base" = scratch ] || applets "$work/$name"
    [ "$directory" = - ] || owned "$work/$name" "$user" "$directory"
    # The real images hold these, too.
    case "$name" in
        alertmanager) cp -L "$tools/amtool" "$work/$name/bin/amtool" ;;
        prometheus) cp -L "$tools/promtool" "$work/$name/bin/promtool" ;;
    esac
    if [ "$name" = alertmanager ]; then
        mkdir -p "$work/$name/usr/share/prometheus"
        cp -r /usr/share/prometheus/alertmanager "$work/$name/usr/share/prometheus/"
    fi
    import "$name" "$work/$name" "$user" "$path"
done <<'IMAGES'
collector otelcol /otelcol-contrib 10001 - scratch
jaeger jaeger /cmd/jaeger/jaeger-linux 10001 - busybox
prometheus prometheus /bin/prometheus 65534 /prometheus busybox
alertmanager alertmanager /bin/alertmanager 65534 /alertmanager busybox
blackbox blackbox_exporter /bin/blackbox_exporter 65534 - busybox
postgres-exporter postgres_exporter /bin/postgres_exporter 65534 - busybox
IMAGES

root "$work/omnitrace" /usr/local/bin/omnitrace "$executable"
# The distroless base has them.
mkdir -p "$work/omnitrace/etc/ssl/certs"
cp -L /etc/ssl/certs/ca-certificates.crt "$work/omnitrace/etc/ssl/certs/" || fail "needs the package ca-certificates"
owned "$work/omnitrace" 65532 /var/lib/omnitrace/herald
owned "$work/omnitrace" 65532 /var/lib/omnitrace/alertmanager
import omnitrace "$work/omnitrace" 65532 /usr/local/bin/omnitrace

loki="['/usr/local/bin/omnitrace', console, --listen, '0.0.0.0:3100', --no-token, --allow-host, loki, --memory, 64MiB]"
root "$work/loki" /usr/local/bin/omnitrace "$executable"
if [ -n "${STAND_IN_TLS:-}" ]; then
    command -v socat >/dev/null || fail "socat asks for certificates in Loki's place: apt-get install socat"
    root "$work/loki" /usr/bin/socat "$(command -v socat)"
    applets "$work/loki"
    ln -s busybox "$work/loki/bin/sh"
    own=/etc/omnitrace/tls
    door="socat OPENSSL-LISTEN:3100,fork,reuseaddr,cert=$own/tls.crt,key=$own/tls.key,cafile=$own/ca.crt,verify=1 TCP:127.0.0.1:3101"
    loki="[/bin/sh, -c, '$door & exec omnitrace console --listen 127.0.0.1:3101 --allow-host loki --memory 64MiB']"
fi
import loki "$work/loki" 10001 /usr/local/bin/omnitrace

docker image inspect omnitrace-postgres:15 >/dev/null 2>&1 || "$here/postgres-image/build.sh" 15

# Only images differ, and Grafana is not there: neither started, nor scraped, nor asked.
prometheus="$here/../deploy/prometheus/prometheus.yml" loki_url="LOKI_URL: 'http://loki:3100', "
[ -z "${STAND_IN_TLS:-}" ] || prometheus="$here/../deploy/tls/generated/prometheus/prometheus.yml" loki_url=""
sed 's/targets: \[grafana:3000\]/targets: []/' "$prometheus" >"$override.prometheus.yml"
chmod 644 "$override.prometheus.yml"
{
    echo "services:"
    for service in gateway data downstream probe herald alertmanager-config fault; do
        echo "  $service: {image: 'omnitrace-stand-in/omnitrace:0', pull_policy: never, build: !reset null}"
    done
    echo "  doctor:"
    echo "    image: omnitrace-stand-in/omnitrace:0"
    echo "    pull_policy: never"
    echo "    environment: !override {GATEWAY_URL: 'http://gateway:8080', PROMETHEUS_URL: 'http://prometheus:9090', JAEGER_URL: 'http://jaeger:16686', ${loki_url}ALERTMANAGER_URL: 'http://alertmanager:9093', COLLECTOR_URL: 'http://collector:13133'}"
    for service in collector jaeger alertmanager blackbox postgres-exporter; do
        echo "  $service: {image: 'omnitrace-stand-in/$service:0', pull_policy: never, build: !reset null}"
    done
    echo "  loki:"
    echo "    image: omnitrace-stand-in/loki:0"
    echo "    pull_policy: never"
    echo "    entrypoint: $loki"
    echo "    command: !override []"
    for service in postgres volumes; do
        echo "  $service: {image: 'omnitrace-postgres:15', pull_policy: never}"
    done
    # Compose wants an image of a service that it does not start, too.
    echo "  grafana: {scale: 0, image: 'omnitrace-stand-in/omnitrace:0', pull_policy: never}"
    echo "  prometheus:"
    echo "    image: omnitrace-stand-in/prometheus:0"
    echo "    pull_policy: never"
    echo "    volumes: ['$override.prometheus.yml:/etc/prometheus/prometheus.yml:ro']"
} >"$override"
echo "stand-in-images.sh: wrote $override" >&2
