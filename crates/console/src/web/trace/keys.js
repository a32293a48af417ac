// What keys do in the waterfall.

/** @param {import('./waterfall.js').Waterfall} waterfall @param {string} key @param {number} index @returns whether it does anything */
export function act(waterfall, key, index) {
  const isParent = waterfall.tree.last[index] > index;
  const isFolded = waterfall.isFolded(index);
  const parent = waterfall.tree.parent[index];
  switch (key) {
    case 'ArrowDown': waterfall.focusRow(waterfall.visibleFrom(index, 1)); break;
    case 'ArrowUp': waterfall.focusRow(waterfall.visibleFrom(index, -1)); break;
    case 'ArrowRight':
      if (isParent && isFolded) waterfall.setFolded(index, false);
      else if (isParent) waterfall.focusRow(waterfall.visibleFrom(index, 1));
      break;
    case 'ArrowLeft':
      if (isParent && !isFolded) waterfall.setFolded(index, true);
      else if (parent >= 0) waterfall.focusRow(parent);
      break;
    case 'Home': waterfall.focusRow(0); break;
    case 'End': waterfall.focusRow(waterfall.visibleFrom(waterfall.elements.length, -1)); break;
    case 'Enter': waterfall.setOpen(index, !waterfall.details.has(index)); break;
    case 'Escape': waterfall.setOpen(index, false); break;
    default: return false;
  }
  return true;
}
