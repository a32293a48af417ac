#!/usr/bin/env bash
# Prints what CHANGELOG.md says of a release.
#
#   .ci/release-notes.sh <version>
set -euo pipefail

version="${1:?usage: release-notes.sh <version>}"
notes="$(awk -v heading="## [$version]" '/^## / { is_it = index($0, heading) == 1; next } is_it' "$(dirname "$0")/../CHANGELOG.md")"
[ -n "${notes//[[:space:]]/}" ] || {
    echo "release-notes.sh: CHANGELOG.md has no entries under \"## [$version]\": rename \"## [Unreleased]\" before the tag is made" >&2
    exit 1
}
echo "$notes"
