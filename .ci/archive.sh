#!/usr/bin/env bash
# Builds the archive of a release for this machine's platform: program, manual pages, completions, and what is in it (SBOM).
#
#   .ci/archive.sh <version> <directory>     # writes omnitrace-<version>-<target>.tar.gz and .cdx.json
#
# Needs cargo-cyclonedx.
set -euo pipefail

version="${1:?usage: archive.sh <version> <directory>}" out="${2:?usage: archive.sh <version> <directory>}"
cd "$(dirname "$0")/.."
target="$(rustc -vV | sed -n 's/^host: //p')"
name="omnitrace-$version-$target"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir -p "$out" "$work/$name/completions"

OMNITRACE_BUILD="$version" cargo build --locked --release -p omnitrace --bin omnitrace
cp "${CARGO_TARGET_DIR:-target}/release/omnitrace" LICENSE NOTICE CHANGELOG.md "$work/$name/"
(
    cd "$work/$name"
    ./omnitrace man --out man
    for shell in bash zsh fish; do ./omnitrace completions "$shell" >"completions/omnitrace.$shell"; done
)
tar -czf "$out/$name.tar.gz" -C "$work" "$name"
# It writes beside each manifest.
cargo cyclonedx --quiet --manifest-path crates/omnitrace/Cargo.toml --format json --target "$target" --override-filename sbom
mv crates/omnitrace/sbom.json "$out/$name.cdx.json"
find crates loadtest -maxdepth 2 -name sbom.json -delete
echo "$out/$name.tar.gz"
