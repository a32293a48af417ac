#!/usr/bin/env bash
# Prints the Debian mirror that this machine's own apt sources name (`.list` or `.sources`: apt reads them itself).
#
# OMNITRACE_DEBIAN_MIRROR   another one, http://mirror.example/debian for example
set -euo pipefail

[ -z "${OMNITRACE_DEBIAN_MIRROR:-}" ] || exec echo "${OMNITRACE_DEBIAN_MIRROR%/}"
# Known by what its index says of itself: other archives, and Debian's own for security, have other packages.
mirror="$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' | sed -n 's/^Debian|Debian|//p' | head -n 1)"
[ -n "$mirror" ] || {
    echo "debian-mirror.sh: apt knows no Debian archive: run apt-get update as root if /etc/apt names one; else name a mirror in OMNITRACE_DEBIAN_MIRROR" >&2
    exit 1
}
echo "${mirror%/}"
