#!/usr/bin/env bash
# The stack's own certificate authority, and a certificate for each part: what compose.tls.yaml mounts.
#
#   deploy/tls/certificates.sh [directory]      # default: deploy/tls/generated
#
# Run it again at any time: a certificate that ends within 30 days is made anew, everything else stays.
# Trust <directory>/ca/ca.crt in a browser to open Grafana without a warning.
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
out="${1:-$here/generated}"
parts="gateway data downstream probe herald alertmanager doctor load collector jaeger loki grafana prometheus blackbox client"
month=2592000

command -v openssl >/dev/null || { echo "certificates.sh: needs openssl (apt-get install openssl)" >&2; exit 1; }

valid() { [ -s "$1" ] && openssl x509 -in "$1" -noout -checkend "$month" >/dev/null; }
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

authority() {
    valid "$out/ca/ca.crt" && [ -s "$out/ca/ca.key" ] && return
    echo "certificates.sh: making a certificate authority in $out/ca"
    # Nothing that the old one signed is worth anything to the new one.
    rm -rf "${out:?}"/*
    mkdir -p "$out/ca"
    key "$out/ca/ca.key"
    openssl req -x509 -new -key "$out/ca/ca.key" -days 3650 -subj "/O=OmniTrace/CN=OmniTrace stack CA" \
        -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign \
        -out "$out/ca/ca.crt"
}

certificate() {
    local part="$1" directory="$out/$1"
    valid "$directory/tls.crt" && return
    mkdir -p "$directory"
    key "$directory/tls.key.new"
    cat >"$out/extensions" <<EXT
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
subjectAltName=DNS:$part,DNS:localhost,IP:127.0.0.1
EXT
    openssl req -new -key "$directory/tls.key.new" -subj "/O=OmniTrace/CN=$part" |
        openssl x509 -req -CA "$out/ca/ca.crt" -CAkey "$out/ca/ca.key" -days 397 \
            -set_serial "0x$(openssl rand -hex 16)" -extfile "$out/extensions" -out "$directory/tls.crt.new" 2>/dev/null
    rm "$out/extensions"
    # Who reads one while it is replaced finds the whole of the old or the new one; between the two a pair may not match, for a moment.
    chmod 644 "$directory"/*.new
    mv "$directory/tls.key.new" "$directory/tls.key"
    mv "$directory/tls.crt.new" "$directory/tls.crt"
    cp "$out/ca/ca.crt" "$directory/ca.crt.new"
    chmod 644 "$directory/ca.crt.new"
    mv "$directory/ca.crt.new" "$directory/ca.crt"
}

# Files that name addresses of the stack, with those that changed. A part that is not found is an error: the stack
# would quietly scrape nothing.
rendered() {
    local name="$1" source="$2"
    shift 2
    mkdir -p "$(dirname "$out/$name")"
    awk "$@" "$source" >"$out/rendered" || { echo "certificates.sh: $source has changed: adapt this script" >&2; exit 1; }
    # A file that is as it was keeps its time: nothing is restarted for it.
    if cmp -s "$out/rendered" "$out/$name"; then rm "$out/rendered"; else mv "$out/rendered" "$out/$name"; fi
}

prometheus() {
    # shellcheck disable=SC2016 # awk's variables
    rendered prometheus/prometheus.yml "$here/../prometheus/prometheus.yml" '
        { print }
        /^  - job_name: (loki|grafana|herald)$/ {
            found++
            print "    scheme: https"
            print "    tls_config:"
            print "      ca_file: /etc/omnitrace/tls/ca.crt"
            print "      cert_file: /etc/omnitrace/tls/tls.crt"
            print "      key_file: /etc/omnitrace/tls/tls.key"
        }
        # How long the certificates of those who answer are valid.
        /^      module: \[http_2xx\]$/ {
            found++
            print "    static_configs:"
            count = split("collector:4317 collector:4318 jaeger:4317 loki:3100 grafana:3000 herald:9095", parts, " ")
            for (i = 1; i <= count; i++) {
                name = parts[i]
                sub(":", "_", name)
                print "      - targets: [\"" parts[i] "\"]"
                print "        labels: {probe: tls_" name ", module: tls_stack}"
            }
        }
        END { exit found != 4 }'
}

# With a certificate to show: who asks for one would write a line to its log for each probe without.
blackbox() {
    local all="$out/blackbox.all"
    cat "$here/../prometheus/blackbox.yml" - >"$all" <<MODULE
  tls_stack:
    prober: tcp
    timeout: 4s
    tcp:
      tls: true
      preferred_ip_protocol: ip4
      tls_config:
        ca_file: /etc/omnitrace/tls/ca.crt
        cert_file: /etc/omnitrace/tls/tls.crt
        key_file: /etc/omnitrace/tls/tls.key
MODULE
    rendered blackbox/blackbox.yml "$all" '{ print }'
    rm "$all"
}

datasources() {
    # shellcheck disable=SC2016 # awk's variables, and Grafana's
    rendered grafana/datasources.yaml "$here/../grafana/provisioning/datasources/datasources.yaml" '
        /^    url: http:\/\/loki:3100$/ {
            found++
            loki = 1
            print "    url: https://loki:3100"
            print "    secureJsonData:"
            print "      tlsCACert: $__file{/etc/omnitrace/tls/ca.crt}"
            print "      tlsClientCert: $__file{/etc/omnitrace/tls/tls.crt}"
            print "      tlsClientKey: $__file{/etc/omnitrace/tls/tls.key}"
            next
        }
        { print }
        loki && /^    jsonData:$/ {
            found++
            loki = 0
            print "      tlsAuth: true"
            print "      tlsAuthWithCACert: true"
            print "      serverName: loki"
        }
        END { exit found != 2 }'
}

umask 077
mkdir -p "$out"
authority
for part in $parts; do
    certificate "$part"
done
prometheus
blackbox
datasources
# The containers' users are none of this machine's: they read through the mount, and nobody here gets past $out.
chmod 700 "$out" "$out/ca"
for part in $parts; do
    chmod 755 "$out/$part"
    find "$out/$part" -type f -exec chmod 644 {} +
done
