// Skeletons and boxes over the picture. The canvas covers the stage; the picture lies centred in it.

const CONFIDENT = 0.5; // joints below it are rings, as in drawn files
const HALO = "rgba(16, 16, 16, .85)";

export class Overlay {
  constructor(canvas, skeleton) {
    this.canvas = canvas;
    this.skeleton = skeleton;
    this.size = { width: 1, height: 1 }; // of the picture, in its pixels
    this.frame = null;
    this.box = null; // drawn by the user
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  show(frame, size = frame) {
    this.frame = frame;
    if (size) this.size = { width: size.width, height: size.height };
    this.draw();
  }

  // Scale and corner of the picture within the canvas, in CSS pixels.
  place() {
    const { clientWidth, clientHeight } = this.canvas;
    const scale = Math.min(clientWidth / this.size.width, clientHeight / this.size.height);
    const left = (clientWidth - scale * this.size.width) / 2;
    const top = (clientHeight - scale * this.size.height) / 2;
    return { scale, left, top };
  }

  // The centre of the top-left pixel is (0, 0).
  toCanvas([u, v]) {
    const { scale, left, top } = this.place();
    return [left + scale * (u + 0.5), top + scale * (v + 0.5)];
  }

  toPicture(x, y) {
    const { scale, left, top } = this.place();
    const clamp = (value, most) => Math.min(Math.max(value, -0.5), most - 0.5);
    return [clamp((x - left) / scale - 0.5, this.size.width), clamp((y - top) / scale - 0.5, this.size.height)];
  }

  draw() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.canvas.clientWidth * ratio);
    this.canvas.height = Math.round(this.canvas.clientHeight * ratio);
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.lineCap = context.lineJoin = "round";
    for (const subject of this.frame?.subjects ?? []) {
      if (subject.box && !this.box) this.drawBox(context, subject.box, false);
      this.drawSkeleton(context, subject);
    }
    if (this.box) this.drawBox(context, this.box, true);
  }

  drawBox(context, [x0, y0, x1, y1], isOwn) {
    const [left, top] = this.toCanvas([x0, y0]);
    const [right, bottom] = this.toCanvas([x1, y1]);
    const strokes = [[HALO, 4], ["#ffffff", 2]];
    for (const [colour, width] of strokes) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.setLineDash(isOwn && colour !== HALO ? [7, 5] : []);
      context.strokeRect(left, top, right - left, bottom - top);
    }
    context.setLineDash([]);
  }

  drawSkeleton(context, subject) {
    const { bones, family, colours } = this.skeleton;
    const points = subject.uv.map((uv) => (uv.includes(null) ? null : this.toCanvas(uv)));
    const width = Math.max(2, Math.min(5, extent(points) / 70));
    for (const isHalo of [true, false]) {
      for (const [parent, child] of bones) {
        if (!points[parent] || !points[child]) continue;
        context.strokeStyle = isHalo ? HALO : colours[family[child]];
        context.lineWidth = isHalo ? width + 2 : width;
        line(context, points[parent], points[child]);
      }
    }
    points.forEach((point, joint) => {
      if (!point) return;
      disc(context, point, 1.25 * width + 1, HALO);
      disc(context, point, 1.25 * width, colours[family[joint]]);
      if (!(subject.confidence[joint] >= CONFIDENT)) disc(context, point, 0.65 * width, HALO);
    });
  }
}

function extent(points) {
  const known = points.filter(Boolean);
  const spread = (axis) => Math.max(...known.map((p) => p[axis])) - Math.min(...known.map((p) => p[axis]));
  return known.length ? Math.max(spread(0), spread(1)) : 0;
}

export function line(context, from, to) {
  context.beginPath();
  context.moveTo(from[0], from[1]);
  context.lineTo(to[0], to[1]);
  context.stroke();
}

export function disc(context, [x, y], radius, colour) {
  context.fillStyle = colour;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}
