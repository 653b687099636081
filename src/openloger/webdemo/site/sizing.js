// The size at which the network gets frames: as least_stretched_size of streaming/sizing.py.

const STRETCH = 0.02; // by which width : height may change, relative, where there is a choice

/**
 * The largest size in whole patches, of at most `maxPixels` pixels, that stretches the picture by at most 2 %; where
 * none does, the one that stretches it least. Returns [height, width].
 */
export function leastStretchedSize(height, width, { patch, maxPixels }) {
  if (height < 1 || width < 1) throw new Error(`a picture of ${height}×${width} has no pixels`);
  const most = Math.floor(maxPixels / patch ** 2);
  let near = null;
  let least = null;
  for (let rows = 1; rows <= most; rows++) {
    for (let columns = 1; columns <= Math.floor(most / rows); columns++) {
      const one = { rows, columns, stretch: stretchOf(height, width, rows, columns) };
      if (one.stretch <= STRETCH && (near === null || isLarger(one, near))) near = one;
      if (least === null || isLessStretched(one, least)) least = one;
    }
  }
  const best = near ?? least;
  if (best.stretch > 1) throw new Error(`a picture of ${width}×${height} is too elongated: crop it`);
  return [patch * best.rows, patch * best.columns];
}

function stretchOf(height, width, rows, columns) {
  const ratio = columns / rows / (width / height);
  return Math.max(ratio, 1 / ratio) - 1;
}

function isLarger(one, other) {
  const [area, before] = [one.rows * one.columns, other.rows * other.columns];
  return area > before || (area === before && one.stretch < other.stretch);
}

function isLessStretched(one, other) {
  if (one.stretch !== other.stretch) return one.stretch < other.stretch;
  return one.rows * one.columns > other.rows * other.columns;
}
