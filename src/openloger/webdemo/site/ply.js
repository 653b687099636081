// A point cloud as PLY, binary little endian, 15 bytes a point: as export/ply.py.

const HEADER = `ply
format binary_little_endian 1.0
comment openloger: x right, y down, z forward
element vertex COUNT
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
end_header
`;
const POINT_BYTES = 15;

/** The first `count` points of `positions` and `colours`, three of each a point, as a Blob. */
export function plyFile({ positions, colours, count }) {
  const rows = new DataView(new ArrayBuffer(POINT_BYTES * count));
  for (let n = 0; n < count; n++) {
    for (let axis = 0; axis < 3; axis++) {
      rows.setFloat32(POINT_BYTES * n + 4 * axis, positions[3 * n + axis], true);
      rows.setUint8(POINT_BYTES * n + 12 + axis, colours[3 * n + axis]);
    }
  }
  return new Blob([HEADER.replace("COUNT", count), rows.buffer], { type: "application/octet-stream" });
}
