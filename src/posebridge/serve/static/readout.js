// Numbers beside the picture: confidence, times, and a bar for each finger or side of the body.

import { element } from "./page.js";

export class Readout {
  constructor(skeleton) {
    this.skeleton = skeleton;
    this.bars = {};
    for (const family of Object.keys(skeleton.colours)) {
      const row = document.createElement("li");
      const parts = ["name", "track", "value"].map((name) => Object.assign(document.createElement("span"), { className: name }));
      const fill = Object.assign(document.createElement("span"), { className: "fill" });
      fill.style.display = "block";
      fill.style.background = skeleton.colours[family];
      parts[0].textContent = family === "centre" && skeleton.joints.includes("wrist") ? "wrist" : family;
      parts[1].append(fill);
      row.append(...parts);
      element("bars").append(row);
      this.bars[family] = { fill, value: parts[2] };
    }
    this.show(null);
  }

  show(frame) {
    const subject = frame?.subjects[0];
    const percent = (value) => (value === null ? "–" : `${Math.round(100 * value)}%`);
    element("confidence").textContent = percent(subject ? mean(subject.confidence) : null);
    element("frame-time").replaceChildren(...(frame ? withUnit(frame.ms.toFixed(frame.ms < 10 ? 1 : 0), "ms") : ["–"]));
    for (const [family, { fill, value }] of Object.entries(this.bars)) {
      const own = subject?.confidence.filter((_, joint) => this.skeleton.family[joint] === family);
      const level = own ? mean(own) : null;
      fill.style.width = `${100 * (level ?? 0)}%`;
      value.textContent = percent(level);
    }
  }

  rate(name, value, unit = "") {
    element("rate-name").textContent = name;
    element("rate").replaceChildren(...withUnit(value, unit));
  }
}

function withUnit(value, unit) {
  const small = Object.assign(document.createElement("small"), { textContent: unit });
  return [String(value), unit ? " " : "", small];
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
