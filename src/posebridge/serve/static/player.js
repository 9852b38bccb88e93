// A video in the browser, with the skeleton of the frame that it shows.

import { clock } from "./api.js";
import { element } from "./page.js";

const PLAY = "M5 3v12l10-6z";
const PAUSE = "M5.5 3.5v11M12.5 3.5v11";

export class Player {
  // onTime gets the time of the frame that the video shows, in seconds.
  constructor(video, onTime) {
    this.video = video;
    element("play").addEventListener("click", () => (video.paused ? video.play().catch(() => {}) : video.pause()));
    element("seek").addEventListener("input", (event) => (video.currentTime = Number(event.target.value) * (video.duration || 0)));
    for (const name of ["play", "pause"]) video.addEventListener(name, () => this.showState());
    const shown = (_, { mediaTime }) => {
      onTime(mediaTime);
      const { duration } = video;
      element("seek").value = duration ? mediaTime / duration : 0;
      element("clock").textContent = `${clock(mediaTime)} / ${clock(duration || 0)}`;
      element("seek").setAttribute("aria-valuetext", clock(mediaTime));
      video.requestVideoFrameCallback(shown);
    };
    video.requestVideoFrameCallback(shown);
  }

  // Whether the browser can play the file; then its first frame is shown.
  open(file) {
    return new Promise((resolve) => {
      this.close();
      this.video.onloadeddata = () => resolve(this.video.videoWidth > 0);
      this.video.onerror = () => resolve(false);
      this.video.src = URL.createObjectURL(file);
    });
  }

  close() {
    this.video.onloadeddata = this.video.onerror = null;
    this.video.pause();
    if (this.video.src) URL.revokeObjectURL(this.video.src);
    this.video.removeAttribute("src");
    this.video.load();
  }

  play() {
    if (!window.matchMedia("(prefers-reduced-motion: reduce)").matches) this.video.play().catch(() => {});
  }

  showState() {
    element("play").setAttribute("aria-label", this.video.paused ? "Play" : "Pause");
    element("play-shape").setAttribute("d", this.video.paused ? PLAY : PAUSE);
  }
}
