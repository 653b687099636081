// Lanczos resizing of 8-bit pictures, in the fixed-point arithmetic of Pillow: as frames/resize.py, and to the bit where
// both sides shrink or both grow (else Pillow may take columns first).

const LOBES = 3;
const ONE = 2 ** 22; // of the weights, which are whole numbers

/**
 * `rgba` (height × width × 4 bytes) at [newHeight, newWidth], without alpha: newHeight × newWidth × 3 bytes.
 * Rows are resized first, and rounded to bytes, then columns.
 */
export function resizeRgb(rgba, [height, width], [newHeight, newWidth]) {
  const across = weightsOf(width, newWidth);
  const down = weightsOf(height, newHeight);
  const narrow = new Uint8ClampedArray(height * newWidth * 3);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < newWidth; column++) {
      const { first, weights } = across[column];
      let from = 4 * (row * width + first);
      let [r, g, b] = [ONE / 2, ONE / 2, ONE / 2];
      for (let n = 0; n < weights.length; n++, from += 4) {
        r += weights[n] * rgba[from];
        g += weights[n] * rgba[from + 1];
        b += weights[n] * rgba[from + 2];
      }
      const to = 3 * (row * newWidth + column);
      narrow[to] = Math.floor(r / ONE);
      narrow[to + 1] = Math.floor(g / ONE);
      narrow[to + 2] = Math.floor(b / ONE);
    }
  }
  const resized = new Uint8ClampedArray(newHeight * newWidth * 3);
  const stride = 3 * newWidth;
  for (let row = 0; row < newHeight; row++) {
    const { first, weights } = down[row];
    for (let column = 0; column < stride; column++) {
      let sum = ONE / 2;
      for (let n = 0; n < weights.length; n++) sum += weights[n] * narrow[(first + n) * stride + column];
      resized[row * stride + column] = Math.floor(sum / ONE);
    }
  }
  return new Uint8Array(resized.buffer);
}

/** For each new pixel, the old ones that it is made of: the first, and whole-number weights that sum to about ONE. */
function weightsOf(size, newSize) {
  const scale = size / newSize;
  const spread = Math.max(scale, 1);
  const support = LOBES * spread;
  return Array.from({ length: newSize }, (_, n) => {
    const centre = (n + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - support + 0.5), 0);
    const end = Math.min(Math.trunc(centre + support + 0.5), size);
    const raw = Array.from({ length: end - first }, (_, m) => lanczos((m + first - centre + 0.5) / spread));
    const total = raw.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: Float64Array.from(raw, (weight) => roundHalfAway((weight / total) * ONE)) };
  });
}

function lanczos(x) {
  return x >= -LOBES && x < LOBES ? sinc(x) * sinc(x / LOBES) : 0;
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

function roundHalfAway(x) {
  return x < 0 ? Math.trunc(x - 0.5) : Math.trunc(x + 0.5);
}
