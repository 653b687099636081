// Which frames form a window, and what the network is told of each: as streaming/windows.py and network/window.py.

/** Groups frames into windows of `size` that share `overlap`; one frame is read ahead to know whether one is the last. */
export class FrameWindows {
  constructor(size, overlap) {
    this.size = size;
    this.overlap = overlap;
    this.held = [];
  }

  /** Takes a frame; returns the window that is complete by it, or null. */
  push(frame) {
    this.held.push(frame);
    if (this.held.length <= this.size) return null;
    const frames = this.held.slice(0, this.size);
    this.held = this.held.slice(this.size - this.overlap);
    return { frames, last: false };
  }

  /** The last window, of the frames that are left; null where there was no frame at all. */
  finish() {
    const frames = this.held;
    this.held = [];
    return frames.length ? { frames, last: true } : null;
  }
}

/**
 * Of each frame: 0 where it is shared with the previous window, 1 for the window's own, 2 for those shared with the
 * next; counted from the nominal `size` for every window, the first and a short last one too.
 */
export function frameRoles(count, size, overlap) {
  const previous = Math.min(overlap, count);
  const own = Math.min(Math.max(size - 2 * overlap, 0), count - previous);
  return Array.from({ length: count }, (_, n) => Number(n >= previous) + Number(n >= previous + own));
}
