// The user's camera. At most one frame is on its way to the server; the newest one goes next.

const WISHES = { video: { width: { ideal: 640 }, height: { ideal: 480 } }, audio: false };
const MOST_PX = 1280; // longer side of a frame that is sent
const JPEG_QUALITY = 0.85;

const REASONS = {
  NotAllowedError: "The camera is denied to this page: allow it in the browser's address bar, then turn it on again.",
  SecurityError: "The camera is denied to this page: allow it in the browser's settings, then turn it on again.",
  NotFoundError: "There is no camera on this machine.",
  NotReadableError: "The camera is busy: end the other program that uses it, then turn it on again.",
  AbortError: "The camera could not be started: connect it anew, then turn it on again.",
};

export class Camera {
  // send(blob) returns the predicted frame; onFrame gets it with the canvas that holds its picture.
  constructor(canvas, send, onFrame, onEnd) {
    Object.assign(this, { canvas, send, onFrame, onEnd });
    this.video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
    this.captured = document.createElement("canvas");
    this.stream = null;
  }

  get isOn() {
    return this.stream !== null;
  }

  async start() {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("This browser gives this page no camera: open the page at http://127.0.0.1 or http://localhost in a current browser.");
    }
    try {
      this.stream = await navigator.mediaDevices.getUserMedia(WISHES);
    } catch (error) {
      throw new Error(REASONS[error.name] ?? `The camera could not be started: ${error.message || error.name}.`);
    }
    const [track] = this.stream.getVideoTracks();
    track.addEventListener("ended", () => this.stop(new Error("The camera was disconnected, or its permission was withdrawn.")));
    this.video.srcObject = this.stream;
    await this.video.play();
    this.loop(this.stream);
  }

  stop(error = null) {
    if (!this.stream) return;
    this.stream.getTracks().forEach((track) => track.stop());
    this.stream = null;
    this.video.srcObject = null;
    this.onEnd(error);
  }

  async loop(stream) {
    try {
      while (this.stream === stream) {
        await this.nextPicture();
        if (this.stream !== stream) return;
        const sent = performance.now();
        const frame = await this.send(await this.capture());
        if (this.stream !== stream) return;
        this.canvas.width = this.captured.width;
        this.canvas.height = this.captured.height;
        this.canvas.getContext("2d").drawImage(this.captured, 0, 0);
        this.onFrame(frame, performance.now() - sent);
      }
    } catch (error) {
      if (this.stream === stream) this.stop(error);
    }
  }

  // Resolves once the camera has a picture that was not sent yet.
  nextPicture() {
    return new Promise((resolve) => this.video.requestVideoFrameCallback(resolve));
  }

  capture() {
    const { videoWidth, videoHeight } = this.video;
    const scale = Math.min(1, MOST_PX / Math.max(videoWidth, videoHeight));
    this.captured.width = Math.round(scale * videoWidth);
    this.captured.height = Math.round(scale * videoHeight);
    this.captured.getContext("2d").drawImage(this.video, 0, 0, this.captured.width, this.captured.height);
    return new Promise((resolve) => this.captured.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
  }
}
