// Joints in space on a plain canvas, turned by mouse, finger or arrow keys.

import { disc, line } from "./overlay.js";

const START = { yaw: -0.55, pitch: -0.2, zoom: 1 };
const RADIANS_PER_PX = 0.011;
const KEY_TURN = 0.12;
const PERSPECTIVE = 3.2; // distance of the eye, in radii of the pose
const JOINT_LEAD = 0.15; // in radii: a joint lies on the bones that end there
const EASE = 0.12; // of the scale from frame to frame, so that it doesn't flicker

export class SpaceView {
  constructor(canvas, skeleton) {
    this.canvas = canvas;
    this.skeleton = skeleton;
    this.view = { ...START };
    this.joints = null; // [x right, y down, z away] in mm
    this.radius = null;
    this.note = "";
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.last = [event.clientX, event.clientY];
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.last) return;
      this.turn((event.clientX - this.last[0]) * RADIANS_PER_PX, (event.clientY - this.last[1]) * RADIANS_PER_PX);
      this.last = [event.clientX, event.clientY];
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (this.last = null));
    canvas.addEventListener("dblclick", () => this.reset());
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(canvas);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  show(subject, note = "") {
    this.note = note;
    this.confidence = subject?.confidence;
    this.joints = subject?.xyz && !subject.xyz.flat().includes(null) ? subject.xyz : null;
    if (this.joints) {
      this.centre = [0, 1, 2].map((axis) => mean(this.joints.map((joint) => joint[axis])));
      const radius = Math.max(1, ...this.joints.map((joint) => Math.hypot(...joint.map((x, axis) => x - this.centre[axis]))));
      this.radius = this.radius === null ? radius : this.radius + EASE * (radius - this.radius);
      if (radius > 1.5 * this.radius || radius < this.radius / 1.5) this.radius = radius;
    }
    this.draw();
  }

  turn(yaw, pitch) {
    this.view.yaw += yaw;
    this.view.pitch = Math.max(-Math.PI / 2, Math.min(Math.PI / 2, this.view.pitch - pitch));
    this.draw();
  }

  zoom(factor) {
    this.view.zoom = Math.max(0.3, Math.min(5, this.view.zoom * factor));
    this.draw();
  }

  reset() {
    this.view = { ...START };
    this.draw();
  }

  wheel(event) {
    if (document.activeElement !== this.canvas) return; // the page scrolls unless the view is in use
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / 500));
  }

  key(event) {
    const actions = {
      ArrowLeft: () => this.turn(-KEY_TURN, 0),
      ArrowRight: () => this.turn(KEY_TURN, 0),
      ArrowUp: () => this.turn(0, -KEY_TURN),
      ArrowDown: () => this.turn(0, KEY_TURN),
      "+": () => this.zoom(1.15),
      "=": () => this.zoom(1.15),
      "-": () => this.zoom(1 / 1.15),
      0: () => this.reset(),
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  }

  // A point relative to the centre, in radii, as [x, y, scale, depth] on the canvas.
  project([x, y, z]) {
    const { yaw, pitch, zoom } = this.view;
    const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    const [turnedX, turnedZ] = [cy * x + sy * z, cy * z - sy * x];
    const [turnedY, depth] = [cp * y - sp * turnedZ, sp * y + cp * turnedZ];
    const scale = (PERSPECTIVE / (PERSPECTIVE + depth)) * zoom * 0.36 * Math.min(this.width, this.height);
    return [this.width / 2 + scale * turnedX, this.height / 2 + 6 + scale * turnedY, scale, depth];
  }

  draw() {
    const ratio = window.devicePixelRatio || 1;
    [this.width, this.height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.lineCap = "round";
    const style = getComputedStyle(document.documentElement);
    this.drawFloor(context, style.getPropertyValue("--rule"));
    if (this.joints) this.drawJoints(context, style.getPropertyValue("--card"));
    context.fillStyle = style.getPropertyValue("--muted");
    context.font = "13px system-ui, sans-serif";
    context.textAlign = "center";
    if (!this.joints && this.note) context.fillText(this.note, this.width / 2, this.height / 2);
  }

  drawFloor(context, colour) {
    context.strokeStyle = colour;
    context.lineWidth = 1;
    const ticks = [-1.2, -0.6, 0, 0.6, 1.2];
    for (const tick of ticks) {
      line(context, this.project([tick, 1.1, -1.2]), this.project([tick, 1.1, 1.2]));
      line(context, this.project([-1.2, 1.1, tick]), this.project([1.2, 1.1, tick]));
    }
  }

  drawJoints(context, background) {
    const { bones, family, colours } = this.skeleton;
    const points = this.joints.map((joint) => this.project(joint.map((x, axis) => (x - this.centre[axis]) / this.radius)));
    const parts = bones.map(([parent, child]) => ({
      depth: (points[parent][3] + points[child][3]) / 2,
      draw: () => {
        const width = 0.045 * (points[parent][2] + points[child][2]) / 2;
        for (const [tone, more] of [[background, 3], [colours[family[child]], 0]]) {
          context.strokeStyle = tone;
          context.lineWidth = width + more;
          line(context, points[parent], points[child]);
        }
      },
    }));
    points.forEach((point, joint) => parts.push({
      depth: point[3] - JOINT_LEAD,
      draw: () => disc(context, point, 0.042 * point[2], colours[family[joint]]),
    }));
    parts.sort((a, b) => b.depth - a.depth).forEach((part) => part.draw()); // far ones first
  }
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
