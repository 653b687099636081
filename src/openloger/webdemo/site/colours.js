// A depth map as a picture, in the colours of the report: as depth_colours of pages/pictures.py.

/** RGBA bytes; `stops` are from near to far, which are the depths that a twentieth is nearer and farther than. */
export function depthColours(depth, stops) {
  const sorted = depth.filter((d) => d > 0 && d < Infinity).sort();
  const [near, far] = [0.05, 0.95].map((share) => sorted[Math.floor(share * (sorted.length - 1))]);
  const range = Math.max(1 / near - 1 / far, 1e-12);
  const pixels = new Uint8ClampedArray(4 * depth.length);
  depth.forEach((d, pixel) => {
    pixels[4 * pixel + 3] = 255;
    if (!(d > 0 && d < Infinity)) return;
    const at = Math.min(Math.max((1 / near - 1 / d) / range, 0), 1) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    for (let channel = 0; channel < 3; channel++) {
      const [from, to] = [stops[low][channel], stops[low + 1][channel]];
      pixels[4 * pixel + channel] = from + (at - low) * (to - from);
    }
  });
  return pixels;
}
