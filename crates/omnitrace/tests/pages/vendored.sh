#!/usr/bin/env bash
# The vendored files are those of the package that package-lock.json pins.
set -euo pipefail
cd "$(dirname "$0")"

package=node_modules/uplot
vendored=../../../console/src/web/vendor/uplot
cmp "$package/LICENSE" "$vendored/LICENSE"
cmp "$package/dist/uPlot.esm.js" "$vendored/uPlot.esm.js"
cmp "$package/dist/uPlot.min.css" "$vendored/uPlot.min.css"
# Beside the script under its name, where tsc looks for its types.
cmp "$package/dist/uPlot.d.ts" "$vendored/uPlot.esm.d.ts"
echo "uplot: as published"
