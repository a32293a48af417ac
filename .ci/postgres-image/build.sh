#!/usr/bin/env bash
# Builds the image omnitrace-postgres:15 from Debian packages, for machines that reach no image registry.
#
#   .ci/postgres-image/build.sh [major version]      # default: 15, what Debian 12 has
#
# Needs apt (a Debian or Ubuntu) and a Docker engine. The packages are resolved and verified by apt, but
# unpacked instead of installed: no root file system is bootstrapped, no maintainer script runs, and what only
# such scripts need (Perl, debconf, user management) stays out, as does the JIT compiler with its LLVM.
set -euo pipefail

major="${1:-15}"
image="omnitrace-postgres:$major"
here="$(cd "$(dirname "$0")" && pwd)"

fail() {
    echo "build.sh: $*" >&2
    exit 1
}

command -v apt-get >/dev/null || fail "needs apt-get; elsewhere take the official image: docker pull postgres:$major"
docker version >/dev/null 2>&1 || fail "no Docker engine answers; start one first (.ci/start-docker.sh)"

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
# apt drops its privileges for downloads, and must be able to write there.
chmod 755 "$work"
mkdir "$work/debs" "$work/root"
chmod 777 "$work/debs"

# What the server and initdb can do without.
unneeded='^(.*perl.*|libllvm.*|libz3-.*|adduser|debconf|dpkg|init-system-helpers|libc-l10n|libdb5.*|libgdbm.*'
unneeded+='|libpam-.*|libsemanage.*|libsepol.*|locales|lsb-base|netbase|openssl|passwd|postgresql-client-common'
unneeded+='|postgresql-common|readline-common|sensible-utils|ssl-cert|sysvinit-utils|tar|ucf|usrmerge)$'

# Downloads what an empty root needs (hence the empty package state), whatever is installed here.
download() {
    local plan packages
    : >"$work/status"
    plan="$(apt-get install --simulate --no-install-recommends -o Dir::State::status="$work/status" \
        "postgresql-$major" busybox-static gosu tzdata)" || return 1
    packages="$(awk '$1 == "Inst" { print $2 }' <<<"$plan" | grep -Ev "$unneeded")"
    (cd "$work/debs" && xargs apt-get download -qq <<<"$packages")
}

# Package lists that are missing or old are the usual reason of a failure.
if ! download 2>"$work/errors"; then
    apt-get update -qq || true
    download || fail "postgresql-$major is not to be had from the configured sources (another version: build.sh 17)"
fi

# Debian's merged /usr: packages of this release still ship files below /lib and /bin.
for directory in bin sbin lib lib64; do
    mkdir -p "$work/root/usr/$directory"
    ln -s "usr/$directory" "$work/root/$directory"
done
for deb in "$work"/debs/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$work/root" --keep-directory-symlink \
        --exclude='./usr/share/doc' --exclude='./usr/share/man' --exclude='./usr/share/locale' \
        --exclude='./usr/lib/postgresql/*/lib/bitcode' --exclude='./usr/lib/postgresql/*/lib/llvmjit.so'
done

root="$work/root"
while read -r applet; do
    [ -e "$root/usr/bin/$applet" ] || ln -s busybox "$root/usr/bin/$applet"
done < <("$root/usr/bin/busybox" --list)
cat >"$root/etc/passwd" <<PASSWD
root:x:0:0:root:/root:/bin/sh
postgres:x:999:999:PostgreSQL:/var/lib/postgresql:/bin/sh
PASSWD
printf 'root:x:0:\npostgres:x:999:\n' >"$root/etc/group"
mkdir -p "$root/root" "$root/docker-entrypoint-initdb.d" "$root/var/lib/postgresql/data" "$root/var/run/postgresql"
install -d -m 1777 "$root/tmp"
chown -R 999:999 "$root/var/lib/postgresql" "$root/var/run/postgresql"
install -m 755 "$here/docker-entrypoint.sh" "$root/usr/bin/docker-entrypoint.sh"

previous="$(docker image inspect --format '{{.Id}}' "$image" 2>/dev/null || true)"
tar -c -C "$root" --numeric-owner . | docker import \
    --change "ENV PATH=/usr/lib/postgresql/$major/bin:/usr/bin:/usr/sbin" \
    --change 'ENV LANG=C.UTF-8' \
    --change 'ENV PGDATA=/var/lib/postgresql/data' \
    --change 'VOLUME /var/lib/postgresql/data' \
    --change 'EXPOSE 5432' \
    --change 'ENTRYPOINT ["docker-entrypoint.sh"]' \
    --change 'CMD ["postgres"]' \
    - "$image" >/dev/null
# It has lost its name to the new one. A container may still use it.
[ -z "$previous" ] || docker image rm "$previous" >/dev/null 2>&1 || true

echo "built $image: $(docker run --rm "$image" postgres --version), $(docker image inspect --format '{{.Size}}' "$image" | awk '{ printf "%d MB", $1 / 1e6 }')"
