// Page one: a picture, a video or the camera, with predicted joints.

import { clock, post, query, refuseLarge, remove, request } from "./api.js";
import { BoxTool } from "./box.js";
import { Camera } from "./camera.js";
import { Overlay } from "./overlay.js";
import { acceptDrops, chosenHand, element, guarded, loadModel, showError } from "./page.js";
import { Player } from "./player.js";
import { Readout } from "./readout.js";
import { SpaceView } from "./space.js";

const POLL_MS = 250;
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

class PredictPage {
  constructor(model) {
    this.model = model;
    this.overlay = new Overlay(element("overlay"), model.skeleton);
    this.space = new SpaceView(element("space"), model.skeleton);
    this.readout = new Readout(model.skeleton);
    this.boxTool = new BoxTool(this.overlay, () => this.isMirrored, (box) => this.setBox(box));
    this.player = new Player(element("video"), (seconds) => this.showVideoFrame(seconds));
    this.camera = new Camera(element("frame"), (picture) => this.sendCameraFrame(picture), (...frame) => this.showCameraFrame(...frame), (error) => this.cameraEnded(error));
    this.file = null; // none while the camera is on
    this.box = null; // around the subject, drawn by the user
    this.prediction = null;
    this.turn = 0; // counts requests
    this.frames = []; // of a video, in their order
    this.listen();
  }

  get isMirrored() {
    return this.camera.isOn && element("mirror").checked;
  }

  get options() {
    return { hand: chosenHand(this.model), box: this.box?.join(",") ?? null };
  }

  listen() {
    const on = (id, name, task) => element(id).addEventListener(name, guarded(task));
    for (const button of document.querySelectorAll("[data-act=file]")) button.addEventListener("click", () => element("file").click());
    for (const button of document.querySelectorAll("[data-act=camera]")) button.addEventListener("click", guarded(() => this.toggleCamera()));
    on("file", "change", (event) => event.target.files.length && this.open([...event.target.files]));
    on("hands", "change", () => this.file && this.predict(this.file, this.box));
    on("whole", "click", () => this.setBox(null));
    on("cancel", "click", () => remove(`/api/predictions/${this.prediction.id}`));
    on("mirror", "change", () => this.showMirror());
    on("coordinates", "submit", (event) => {
      event.preventDefault();
      const value = (name) => Number(event.target.elements[name].value);
      return this.setBox([value("x0"), value("y0"), value("x1"), value("y1")]);
    });
    acceptDrops(element("stage"), guarded((files) => this.open(files)));
  }

  // A file

  async open(files) {
    showError(null);
    element("file").value = "";
    if (files.length > 1) throw new Error("One file at a time, please: the page Adapt takes several.");
    refuseLarge(files[0], this.model.max_upload_mb);
    this.camera.stop();
    await this.predict(files[0], null);
  }

  // What is shown stays until the server has accepted the file.
  async predict(file, box) {
    const turn = ++this.turn;
    await this.end();
    const before = element("status").textContent;
    this.say("Predicting …");
    const options = { ...this.options, box: box?.join(",") ?? null };
    const answer = await post(query("/api/predictions", options), file).catch((error) => {
      this.say(before);
      throw error;
    });
    if (turn !== this.turn) return; // the user has chosen anew meanwhile
    showError(null);
    this.file = file;
    this.prediction = answer;
    this.frames = [];
    this.overlay.box = this.box = box;
    this.clear();
    await (answer.source === "image" ? this.showImage(answer) : this.followVideo(answer));
  }

  // Cancels a video that is being predicted; its frames so far stay.
  async end() {
    if (this.prediction?.state !== "running") return;
    this.prediction.state = "cancelled";
    await remove(`/api/predictions/${this.prediction.id}`).catch(() => {});
    element("progress").hidden = true;
  }

  async showImage(answer) {
    const image = element("image");
    const url = URL.createObjectURL(this.file);
    image.onload = image.onerror = () => URL.revokeObjectURL(url);
    image.src = url;
    const isShown = await image.decode().then(() => true, () => false);
    this.player.close();
    this.showStage("image");
    const [frame] = answer.frames;
    this.readout.rate("Subjects", frame.subjects.length);
    this.showFrame(frame);
    this.offerDownloads(frame.subjects.length > 0);
    if (!isShown) this.say("This browser can't show pictures of this type; the joints are drawn without it.");
  }

  // A video

  async followVideo(first) {
    this.isPlayable = await this.player.open(this.file);
    this.showStage("video");
    element("player").hidden = !this.isPlayable;
    element("progress").hidden = false;
    this.readout.rate("Speed", "–");
    let answer = first;
    let poses = 0;
    for (;;) {
      this.frames.push(...answer.frames);
      poses += answer.frames.filter((frame) => frame.subjects.length).length;
      this.showProgress(answer);
      if (!this.isPlayable && answer.frames.length) this.showFrame(answer.frames.at(-1));
      this.offerDownloads(poses > 0);
      if (answer.state !== "running" && answer.next >= answer.count) break;
      if (answer.frames.length === 0) await wait(POLL_MS);
      const next = await request(query(`/api/predictions/${first.id}`, { since: answer.next }));
      if (this.prediction.id !== first.id) return;
      answer = this.prediction = next;
    }
    element("progress").hidden = true;
    if (answer.state === "failed") throw new Error(answer.error);
    this.showSummary(answer);
    if (this.isPlayable) this.player.play();
  }

  showProgress({ count, total, seconds }) {
    element("progress-bar").value = total ? count / total : 0;
    const speed = seconds > 0 ? count / seconds : 0;
    const remaining = total && speed ? ` · ${clock((total - count) / speed)} left` : "";
    element("progress-text").textContent = total ? `${count} of ${total} frames${remaining}` : "Reading the video …";
    if (speed) this.readout.rate("Speed", speed.toFixed(0), "frames/s");
    this.say("");
  }

  showSummary({ state, count, total, skipped }) {
    const without = skipped ? ` ${skipped} have no ${this.model.subject} in them, or can't be read.` : "";
    const ended = state === "cancelled" ? `Cancelled after ${count} of ${total ?? "?"} frames.` : `${count} frames.`;
    const seen = this.isPlayable ? "" : " This browser can't play this video: download the predictions, or save it as MP4 (H.264) or WebM.";
    this.say(`${ended}${without}${seen}`);
  }

  showVideoFrame(seconds) {
    if (element("video").hidden) return;
    const frame = nearest(this.frames, seconds, this.prediction?.total, element("video").duration);
    const { videoWidth: width, videoHeight: height } = element("video");
    this.overlay.show(frame, { width, height });
    this.space.show(frame?.subjects[0]);
    this.readout.show(frame);
  }

  // The camera

  async toggleCamera() {
    showError(null);
    if (this.camera.isOn) {
      this.camera.stop();
      return;
    }
    await this.end();
    this.overlay.box = this.box = null;
    this.prediction = await post(query("/api/cameras", this.options));
    await this.camera.start();
    this.file = null;
    this.player.close();
    this.clear();
    this.showStage("frame");
    this.cameraMs = null;
    this.poses = 0;
    this.say("The camera is on.");
  }

  sendCameraFrame(picture) {
    return post(query(`/api/cameras/${this.prediction.id}/frames`, this.options), picture);
  }

  showCameraFrame(frame, roundTripMs) {
    this.cameraMs = this.cameraMs === null ? roundTripMs : 0.9 * this.cameraMs + 0.1 * roundTripMs;
    this.readout.rate("Round trip", this.cameraMs.toFixed(0), "ms");
    this.poses += frame.subjects.length;
    this.offerDownloads(this.poses > 0);
    this.showFrame(frame);
  }

  cameraEnded(error) {
    remove(`/api/predictions/${this.prediction.id}`).catch(() => {});
    this.showTools();
    this.say("The camera is off.");
    if (error) showError(error);
  }

  // What is shown

  clear() {
    this.overlay.show(null);
    this.space.show(null);
    this.readout.show(null);
    this.offerDownloads(false);
  }

  showFrame(frame) {
    this.overlay.show(frame);
    const [subject] = frame.subjects;
    this.space.show(subject, subject ? "This model predicts no lengths." : "");
    this.readout.show(frame);
    const hint = this.model.detects ? "" : ` Draw a box around the ${this.model.subject}.`;
    if (!subject) this.say(`No ${this.model.subject} in this frame.${this.box ? "" : hint}`);
    else this.say(this.box || this.model.detects ? "" : `The whole picture is the crop. Draw a box around the ${this.model.subject} for a closer one.`);
  }

  showStage(shown) {
    for (const id of ["image", "video", "frame"]) element(id).hidden = id !== shown;
    element("overlay").hidden = false;
    element("drop").hidden = true;
    element("player").hidden = shown !== "video";
    element("stage").classList.add("can-draw");
    this.boxTool.isEnabled = true;
    this.showTools();
    this.overlay.draw();
  }

  showTools() {
    const isOn = this.camera.isOn;
    const isUsed = element("drop").hidden;
    element("tools").hidden = !isUsed;
    element("box-entry").hidden = !isUsed;
    element("camera").setAttribute("aria-pressed", isOn);
    element("camera-text").textContent = isOn ? "Turn off" : "Camera";
    element("mirror-choice").hidden = !isOn;
    element("whole").hidden = this.box === null;
    this.showMirror();
  }

  showMirror() {
    element("stage").classList.toggle("mirrored", this.isMirrored);
  }

  async setBox(box) {
    showError(null);
    const before = this.box;
    this.overlay.box = this.box = box;
    try {
      if (this.file) await this.predict(this.file, box); // a camera's next frame takes it
    } catch (error) {
      this.overlay.box = this.box = before;
      showError(error);
    }
    if (this.box) ["x0", "y0", "x1", "y1"].forEach((name, i) => (element("coordinates").elements[name].value = this.box[i]));
    this.overlay.draw();
    this.showTools();
  }

  offerDownloads(isReady) {
    for (const [id, name] of [["npz", "predictions.npz"], ["json", "predictions.json"]]) {
      const link = element(id);
      link.classList.toggle("disabled", !isReady);
      link.setAttribute("aria-disabled", !isReady);
      if (isReady && this.prediction) link.href = `/api/predictions/${this.prediction.id}/${name}`;
      else link.removeAttribute("href");
    }
  }

  say(text) {
    if (element("status").textContent !== text) element("status").textContent = text;
  }
}

// The frame of a video at a time: by its own times, or by its number where the file has none.
function nearest(frames, seconds, total, duration) {
  if (!frames.length) return null;
  const time = (frame) => frame.time ?? (frame.frame * duration) / (total || 1);
  let [low, high] = [0, frames.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (time(frames[middle]) <= seconds + 1e-3) low = middle;
    else high = middle - 1;
  }
  const isLast = low === frames.length - 1 && low > 0;
  const isPredicted = !isLast || seconds < time(frames[low]) + 1.5 * (time(frames[low]) - time(frames[low - 1]));
  return isPredicted || frames.length === total ? frames[low] : null;
}

guarded(async () => new PredictPage(await loadModel()))();
