// The keyboard commands of the waterfall.

/** The next row in this direction that is not folded. @param {import('./waterfall.js').Waterfall} waterfall @param {number} index @param {number} step */
function visibleFrom({ elements }, index, step) {
  for (let at = index + step; at >= 0 && at < elements.length; at += step) if (!elements[at].hidden) return at;
  return index;
}

/** @param {import('./waterfall.js').Waterfall} waterfall @param {string} key @param {number} index @returns whether it does anything */
export function act(waterfall, key, index) {
  const isParent = waterfall.tree.last[index] > index;
  const isFolded = waterfall.isFolded(index);
  const parent = waterfall.tree.parent[index];
  switch (key) {
    case 'ArrowDown': waterfall.focusRow(visibleFrom(waterfall, index, 1)); break;
    case 'ArrowUp': waterfall.focusRow(visibleFrom(waterfall, index, -1)); break;
    case 'ArrowRight':
      if (isParent && isFolded) waterfall.setFolded(index, false);
      else if (isParent) waterfall.focusRow(visibleFrom(waterfall, index, 1));
      break;
    case 'ArrowLeft':
      if (isParent && !isFolded) waterfall.setFolded(index, true);
      else if (parent >= 0) waterfall.focusRow(parent);
      break;
    case 'Home': waterfall.focusRow(0); break;
    case 'End': waterfall.focusRow(visibleFrom(waterfall, waterfall.elements.length, -1)); break;
    case 'Enter': waterfall.setOpen(index, !waterfall.details.has(index)); break;
    case 'Escape': waterfall.setOpen(index, false); break;
    default: return false;
  }
  return true;
}
