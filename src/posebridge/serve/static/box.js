// A box that the user draws on the picture with mouse, pen or finger.

const LEAST_PX = 8; // on the screen; a smaller one is a click

export class BoxTool {
  // onBox gets [x0, y0, x1, y1] in pixels of the picture.
  constructor(overlay, isMirrored, onBox) {
    const canvas = overlay.canvas;
    let start = null;
    const at = (event) => {
      const area = canvas.getBoundingClientRect();
      const x = event.clientX - area.left;
      return overlay.toPicture(isMirrored() ? area.width - x : x, event.clientY - area.top);
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !this.isEnabled) return;
      canvas.setPointerCapture(event.pointerId);
      start = { at: at(event), x: event.clientX, y: event.clientY, before: overlay.box };
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!start) return;
      overlay.box = between(start.at, at(event));
      overlay.draw();
    });
    canvas.addEventListener("pointerup", (event) => {
      if (!start) return;
      const isClick = Math.max(Math.abs(event.clientX - start.x), Math.abs(event.clientY - start.y)) < LEAST_PX;
      const { before, at: corner } = start;
      start = null;
      if (isClick) {
        overlay.box = before;
        overlay.draw();
      } else {
        onBox(between(corner, at(event)));
      }
    });
    canvas.addEventListener("pointercancel", () => {
      if (!start) return;
      overlay.box = start.before;
      start = null;
      overlay.draw();
    });
    this.isEnabled = false;
  }
}

function between([x, y], [u, v]) {
  const round = (value) => Math.round(10 * value) / 10;
  return [Math.min(x, u), Math.min(y, v), Math.max(x, u), Math.max(y, v)].map(round);
}
