// The cloud, the path and the camera, drawn with WebGL 2, and a view that follows the camera until it is moved by hand.

import { turned } from "./placement.js";

const FIELD = (50 * Math.PI) / 180; // vertical
const APPROACH_MS = 250; // in which the view comes most of the way
const PATH_COLOUR = [251, 146, 60];
const CAMERA_COLOUR = [255, 255, 255];
const POINT_VERTEX = `#version 300 es
uniform mat4 clipFromWorld;
uniform float size; // pixels at distance 1
in vec3 position;
in vec3 colour;
out vec3 shade;
void main() {
  gl_Position = clipFromWorld * vec4(position, 1.0);
  gl_PointSize = clamp(size / gl_Position.w, 1.5, 24.0);
  shade = colour;
}`;
const POINT_FRAGMENT = `#version 300 es
precision mediump float;
uniform bool round;
in vec3 shade;
out vec4 pixel;
void main() {
  vec2 from = 2.0 * gl_PointCoord - 1.0;
  if (round && dot(from, from) > 1.0) discard;
  pixel = vec4(shade, 1.0);
}`;

export class Scene {
  constructor(canvas, mostPoints) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl2", { antialias: true, alpha: false, preserveDrawingBuffer: false });
    if (!this.gl) throw new Error("this browser has no WebGL 2, with which the cloud is drawn");
    this.program = linked(this.gl);
    this.cloud = this.buffers(mostPoints);
    this.fresh = this.buffers(0);
    this.lines = this.buffers(0);
    this.clear();
    this.listen();
  }

  clear() {
    this.drawn = { count: 0, thinnings: 0 };
    this.freshCount = 0;
    this.lineCounts = { path: 0, camera: 0 };
    this.camera = null;
    this.depth = 1; // of what the camera sees
    this.isFollowing = true;
    this.goal = null;
    this.isPlaced = false;
    this.movedAt = 0;
    this.view = { target: [0, 0, 1], yaw: 0, pitch: 0.35, distance: 2.4 };
    this.isStale = true;
  }

  /** Takes up the new points of a Cloud; all of them where it was thinned. */
  addFrom(cloud) {
    const anew = cloud.thinnings !== this.drawn.thinnings;
    const first = anew ? 0 : this.drawn.count;
    this.write(this.cloud, first, cloud.positions.subarray(3 * first, 3 * cloud.count),
      cloud.colours.subarray(3 * first, 3 * cloud.count));
    this.drawn = { count: cloud.count, thinnings: cloud.thinnings };
  }

  /** Points that the next window estimates again. */
  setFresh({ positions, colours }) {
    this.replace(this.fresh, positions, colours);
    this.freshCount = positions.length / 3;
  }

  /**
   * `path`: camera centres; `camera`: the newest, a rigid world_from_cam; `depth`: the median of what it sees;
   * `aspect` of its picture, width : height.
   */
  setPath(path, camera, depth, aspect) {
    this.camera = camera;
    this.depth = depth;
    const points = [...path, ...frustum(camera, 0.22 * depth, aspect)];
    const colours = points.flatMap((_, n) => (n < path.length ? PATH_COLOUR : CAMERA_COLOUR));
    this.replace(this.lines, Float32Array.from(points.flat()), Uint8Array.from(colours));
    this.lineCounts = { path: path.length, camera: points.length - path.length };
    this.isStale = true;
  }

  follow() {
    this.isFollowing = true;
    this.isStale = true;
  }

  /** Steps back to see everything: `middle`, and the radius about it. */
  overview(middle, radius) {
    if (!this.isFollowing) return;
    this.isFollowing = false;
    const narrow = Math.min(this.canvas.clientWidth / this.canvas.clientHeight, 1);
    const distance = (1.1 * radius) / Math.tan(FIELD / 2) / narrow;
    this.goal = { target: middle, distance, pitch: 0.6, yaw: this.view.yaw };
    this.isStale = true;
  }

  /** Draws where something has changed; call it for every picture of the screen. */
  draw() {
    this.approach();
    if (this.isResting()) return;
    this.resize();
    if (!this.isStale) return;
    this.isStale = false;
    this.paintAll();
    this.work = { fence: this.gl.fenceSync(this.gl.SYNC_GPU_COMMANDS_COMPLETE, 0), since: performance.now() };
    this.gl.flush();
  }

  /** Whether drawing is to leave time to the network: after each picture twice as long as it took. */
  isResting() {
    const { gl, work } = this;
    const now = performance.now();
    if (work?.fence) {
      if (gl.getSyncParameter(work.fence, gl.SYNC_STATUS) !== gl.SIGNALED) return true;
      gl.deleteSync(work.fence);
      this.work = { fence: null, until: now + 2 * (now - work.since) };
    }
    return now < (this.work?.until ?? 0);
  }

  paintAll() {
    const { gl, canvas } = this;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(15 / 255, 19 / 255, 23 / 255, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.useProgram(this.program);
    gl.uniformMatrix4fv(this.at("clipFromWorld"), false, this.clipFromWorld());
    const pixels = canvas.height / (2 * Math.tan(FIELD / 2));
    gl.uniform1f(this.at("size"), 0.016 * this.depth * pixels);
    gl.uniform1i(this.at("round"), 1);
    this.paint(this.cloud, gl.POINTS, 0, this.drawn.count);
    this.paint(this.fresh, gl.POINTS, 0, this.freshCount);
    gl.uniform1i(this.at("round"), 0);
    this.paint(this.lines, gl.LINE_STRIP, 0, this.lineCounts.path);
    this.paint(this.lines, gl.LINES, this.lineCounts.path, this.lineCounts.camera);
  }

  /** Moves the view a part of the way to where it is wanted; all of it at once where nothing was seen before. */
  approach() {
    const now = performance.now();
    const part = this.isPlaced ? 1 - Math.exp((this.movedAt - now) / APPROACH_MS) : 1;
    this.movedAt = now;
    let goal = this.goal;
    if (this.isFollowing && this.camera) {
      const ahead = turned(this.camera.rotation, [0, 0, 1]);
      const target = this.camera.translation.map((x, n) => x + 0.9 * this.depth * ahead[n]);
      const pitch = Math.min(Math.asin(Math.min(Math.max(ahead[1], -1), 1)) + 0.25, 1.2); // from a little above
      goal = { target, yaw: Math.atan2(ahead[0], ahead[2]), pitch, distance: 1.75 * this.depth };
    }
    if (!goal) return;
    this.isPlaced = true;
    const { view } = this;
    const turn = Math.atan2(Math.sin(goal.yaw - view.yaw), Math.cos(goal.yaw - view.yaw));
    const away = Math.hypot(...goal.target.map((x, n) => x - view.target[n])) / goal.distance
      + Math.abs(turn) + Math.abs(goal.pitch - view.pitch) + Math.abs(goal.distance / view.distance - 1);
    if (away < 1e-3) return;
    view.target = view.target.map((x, n) => x + part * (goal.target[n] - x));
    view.yaw += part * turn;
    view.pitch += part * (goal.pitch - view.pitch);
    view.distance *= (goal.distance / view.distance) ** part;
    this.isStale = true;
  }

  /** The view's axes in the world, whose y is down: right, down, ahead. */
  axes() {
    const { yaw, pitch } = this.view;
    const ahead = [Math.sin(yaw) * Math.cos(pitch), Math.sin(pitch), Math.cos(yaw) * Math.cos(pitch)];
    const right = [Math.cos(yaw), 0, -Math.sin(yaw)];
    return [right, cross(ahead, right), ahead];
  }

  /** Column by column, as WebGL takes it. */
  clipFromWorld() {
    const { target, distance } = this.view;
    const [right, down, ahead] = this.axes();
    const eye = target.map((x, n) => x - distance * ahead[n]);
    const focal = 1 / Math.tan(FIELD / 2);
    const [near, far] = [distance / 100, distance * 100];
    const rows = [
      withOffset(right.map((x) => (x * focal * this.canvas.height) / this.canvas.width), eye),
      withOffset(down.map((x) => -x * focal), eye),
      withOffset(ahead.map((x) => (x * (far + near)) / (far - near)), eye),
      withOffset(ahead, eye),
    ];
    rows[2][3] -= (2 * far * near) / (far - near);
    return Float32Array.from({ length: 16 }, (_, n) => rows[n % 4][Math.floor(n / 4)]);
  }

  listen() {
    const held = new Map(); // pointer → where it is
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      held.set(event.pointerId, [event.clientX, event.clientY]);
    });
    canvas.addEventListener("pointermove", (event) => {
      const from = held.get(event.pointerId);
      if (!from) return;
      const to = [event.clientX, event.clientY];
      const other = [...held].find(([id]) => id !== event.pointerId)?.[1];
      held.set(event.pointerId, to);
      const moved = to.map((x, n) => x - from[n]);
      if (other) this.zoom(distanceOf(from, other) / Math.max(distanceOf(to, other), 1));
      if (other || event.shiftKey || event.buttons & 2) this.shift(moved.map((x) => (other ? x / 2 : x)));
      else this.turn(moved);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => held.delete(event.pointerId));
    }
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(Math.sign(event.deltaY) * Math.min(Math.abs(event.deltaY), 100) * 0.0015));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const turns = { ArrowLeft: [-40, 0], ArrowRight: [40, 0], ArrowUp: [0, -40], ArrowDown: [0, 40] };
    if (event.key in turns) this.turn(turns[event.key]);
    else if (event.key === "+") this.zoom(0.9);
    else if (event.key === "-") this.zoom(1.1);
    else return;
    event.preventDefault();
  }

  turn([x, y]) {
    this.byHand();
    this.view.yaw -= x * 0.006;
    this.view.pitch = Math.min(Math.max(this.view.pitch + y * 0.006, -1.5), 1.5);
  }

  shift([x, y]) {
    this.byHand();
    const [right, down] = this.axes();
    const step = (2 * Math.tan(FIELD / 2) * this.view.distance) / this.canvas.clientHeight;
    this.view.target = this.view.target.map((at, n) => at - step * (x * right[n] + y * down[n]));
  }

  zoom(factor) {
    this.byHand();
    this.view.distance *= factor;
  }

  byHand() {
    this.isFollowing = false;
    this.goal = null;
    this.isStale = true;
  }

  resize() {
    const { canvas } = this;
    const scale = Math.min(window.devicePixelRatio || 1, 2);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.max(Math.round(side * scale), 1));
    if (canvas.width === width && canvas.height === height) return;
    [canvas.width, canvas.height] = [width, height];
    this.isStale = true;
  }

  at(name) {
    return this.gl.getUniformLocation(this.program, name);
  }

  buffers(most) {
    const { gl } = this;
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    const made = { array, positions: gl.createBuffer(), colours: gl.createBuffer() };
    [["positions", gl.FLOAT, 4], ["colours", gl.UNSIGNED_BYTE, 1]].forEach(([name, type, bytes], place) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, made[name]);
      gl.bufferData(gl.ARRAY_BUFFER, 3 * bytes * most, gl.DYNAMIC_DRAW);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, 3, type, type === gl.UNSIGNED_BYTE, 0, 0);
    });
    return made;
  }

  write(buffers, first, positions, colours) {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers.positions);
    gl.bufferSubData(gl.ARRAY_BUFFER, 12 * first, positions);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers.colours);
    gl.bufferSubData(gl.ARRAY_BUFFER, 3 * first, colours);
    this.isStale = true;
  }

  replace(buffers, positions, colours) {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers.positions);
    gl.bufferData(gl.ARRAY_BUFFER, positions, gl.DYNAMIC_DRAW);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers.colours);
    gl.bufferData(gl.ARRAY_BUFFER, colours, gl.DYNAMIC_DRAW);
  }

  paint(buffers, mode, first, count) {
    if (!count) return;
    this.gl.bindVertexArray(buffers.array);
    this.gl.drawArrays(mode, first, count);
  }
}

/** The ends of a camera's edges, two a line. */
function frustum({ rotation, translation }, size, aspect) {
  const at = (x, y, z) => turned(rotation, [x, y, z]).map((one, n) => one + translation[n]);
  const [x, y] = [0.5 * size * aspect, 0.5 * size];
  const corners = [[-x, -y], [x, -y], [x, y], [-x, y]].map(([right, down]) => at(right, down, size));
  return corners.flatMap((corner, n) => [translation, corner, corner, corners[(n + 1) % 4]]);
}

function linked(gl) {
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, POINT_VERTEX], [gl.FRAGMENT_SHADER, POINT_FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.bindAttribLocation(program, 0, "position");
  gl.bindAttribLocation(program, 1, "colour");
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  return program;
}

/** A row of a matrix that measures from `eye`. */
function withOffset(row, eye) {
  return [...row, -row.reduce((sum, x, n) => sum + x * eye[n], 0)];
}

function cross(a, b) {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}

function distanceOf(a, b) {
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}
