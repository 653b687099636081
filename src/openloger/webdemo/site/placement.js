// Where a window sits in the world, from the frames it shares with the one before it: as streaming/placement.py.
//
// A rigid motion is { rotation, translation }, a similarity x ↦ s R x + t has a `scale` as well; rotations are nine
// numbers, row by row. Camera axes are OpenCV's. All of it is computed in double precision.

const SCALE_RANGE = [1e-3, 1e3];

export const IDENTITY = { scale: 1, rotation: [1, 0, 0, 0, 1, 0, 0, 0, 1], translation: [0, 0, 0] };

/** The cameras of a window from frames × 16 numbers, their rotations exact, so that chains do not decay. */
export function windowPoses(matrices) {
  return Array.from({ length: matrices.length / 16 }, (_, n) => {
    const m = matrices.subarray(16 * n, 16 * n + 16);
    return {
      rotation: nearestRotation([m[0], m[1], m[2], m[4], m[5], m[6], m[8], m[9], m[10]]),
      translation: [m[3], m[7], m[11]],
    };
  });
}

/**
 * `world_from_window` of a window whose first frames are the anchor's; the first window (no anchor) is the world.
 *
 * `kind`: "none" (as predicted), "se3" (moved so that the first shared frame stands where it was) or "sim3" (the same
 * after scaling by the ratio of its depths). `startsBlock`: the fast weights were reset just before it.
 */
export function place(kind, windowFromCam, depth, anchor, { startsBlock }) {
  if (!["none", "se3", "sim3"].includes(kind)) throw new Error(`placement ${kind} is none of none, se3, sim3`);
  if (anchor === null) return IDENTITY;
  if (kind === "none" && !startsBlock) return anchor.worldFromWindow;
  const scale = kind === "sim3" ? depthScale(anchor.firstDepth, depth) : 1;
  const first = windowFromCam[0];
  const scaled = { ...first, translation: first.translation.map((x) => scale * x) };
  return { scale, ...composed(anchor.firstWorldFromCam, inverse(scaled)) };
}

/** The camera moved and scaled with its window, its rotation left a rotation. */
export function rigidly(worldFromWindow, windowFromCam) {
  const { scale, rotation } = worldFromWindow;
  return composed({ rotation, translation: worldFromWindow.translation }, {
    rotation: windowFromCam.rotation,
    translation: windowFromCam.translation.map((x) => scale * x),
  });
}

/** The median of previous / current depth where both are finite and positive; of an even number the lower middle one. */
export function depthScale(previous, current) {
  const ratios = [];
  for (let n = 0; n < previous.length; n++) {
    const ratio = Math.fround(previous[n] / current[n]);
    if (previous[n] > 0 && current[n] > 0 && previous[n] < Infinity && current[n] < Infinity) ratios.push(ratio);
  }
  if (!ratios.length) throw new Error("two windows have no pixel with depth in both: their scales cannot be tied");
  const median = Float64Array.from(ratios).sort()[(ratios.length - 1) >> 1];
  return Math.min(Math.max(median, SCALE_RANGE[0]), SCALE_RANGE[1]);
}

/** `a_from_c` of `a_from_b` and `b_from_c`. */
export function composed(a, b) {
  const moved = turned(a.rotation, b.translation);
  return { rotation: product(a.rotation, b.rotation), translation: moved.map((x, n) => x + a.translation[n]) };
}

/** `b_from_a` of a rigid `a_from_b`. */
export function inverse({ rotation: r, translation }) {
  const rotation = [r[0], r[3], r[6], r[1], r[4], r[7], r[2], r[5], r[8]];
  return { rotation, translation: turned(rotation, translation).map((x) => -x) };
}

/** R x */
export function turned(r, [x, y, z]) {
  return [0, 3, 6].map((n) => r[n] * x + r[n + 1] * y + r[n + 2] * z);
}

function product(a, b) {
  const sum = (n, m) => a[3 * n] * b[m] + a[3 * n + 1] * b[3 + m] + a[3 * n + 2] * b[6 + m];
  return Array.from({ length: 9 }, (_, n) => sum(Math.floor(n / 3), n % 3));
}

/**
 * The rotation nearest to nine numbers in the Frobenius norm, as of the unit quaternion q with the largest qᵀ N q,
 * which is tr(Rᵀ M) (Horn, "Closed-form solution of absolute orientation using unit quaternions", 1987).
 */
export function nearestRotation([a, b, c, d, e, f, g, h, i]) {
  const [w, x, y, z] = largestEigenvector([
    [a + e + i, h - f, c - g, d - b],
    [h - f, a - e - i, b + d, c + g],
    [c - g, b + d, e - a - i, f + h],
    [d - b, c + g, f + h, i - a - e],
  ]);
  return [
    w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y),
    2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x),
    2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z,
  ];
}

/** Of a symmetric matrix, by Jacobi's rotations; of length 1. */
function largestEigenvector(matrix) {
  const size = matrix.length;
  const vectors = matrix.map((_, n) => matrix.map((_, m) => Number(n === m))); // columns
  for (let sweep = 0; sweep < 30; sweep++) {
    for (let p = 0; p < size; p++) {
      for (let q = p + 1; q < size; q++) {
        const turn = Math.atan2(2 * matrix[p][q], matrix[q][q] - matrix[p][p]) / 2;
        const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
        const mix = (one, other) => [cos * one - sin * other, sin * one + cos * other];
        for (const rows of [matrix, vectors]) for (const row of rows) [row[p], row[q]] = mix(row[p], row[q]);
        for (let n = 0; n < size; n++) [matrix[p][n], matrix[q][n]] = mix(matrix[p][n], matrix[q][n]);
      }
    }
  }
  const largest = matrix.reduce((best, row, n) => (row[n] > matrix[best][best] ? n : best), 0);
  const vector = vectors.map((row) => row[largest]);
  const length = Math.hypot(...vector);
  return vector.map((x) => x / length);
}
