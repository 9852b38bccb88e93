// Page two: footage, a method, a run, its progress and its report.

import { clock, post, query, refuseLarge, remove, request, sentence } from "./api.js";
import { acceptDrops, chosenHand, element, guarded, loadModel, showError } from "./page.js";

const POLL_MS = 1000;

class AdaptPage {
  constructor(model) {
    this.model = model;
    this.chosen = null; // method, once the user has chosen one
    this.isUploading = false;
    const on = (id, name, task) => element(id).addEventListener(name, guarded(task));
    on("choose", "click", () => element("file").click());
    on("file", "change", (event) => this.upload([...event.target.files]));
    on("remove", "click", async () => this.show(await remove("/api/adaptation/files")));
    on("start", "click", () => this.start());
    on("cancel", "click", () => this.cancel());
    on("methods", "change", (event) => (this.chosen = event.target.value));
    acceptDrops(element("drop"), guarded((files) => this.upload(files)));
  }

  async follow() {
    let isLost = false;
    for (;;) {
      try {
        const state = await request("/api/adaptation");
        if (isLost) showError(null);
        isLost = false;
        if (!this.isUploading && !this.isCancelling) this.show(state);
      } catch (error) {
        isLost = true;
        showError(error);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  async upload(files) {
    showError(null);
    element("file").value = "";
    files.forEach((file) => refuseLarge(file, this.model.max_upload_mb));
    this.isUploading = true;
    let state = null;
    const refused = [];
    try {
      for (const [i, file] of files.entries()) {
        element("files").hidden = false;
        element("files-text").textContent = `Uploading ${i + 1} of ${files.length}: ${file.name}`;
        try {
          state = await post("/api/adaptation/files", file);
        } catch (error) {
          refused.push(`${file.name}: ${error.message}`);
          if (error.status !== 415) break; // another file may be a picture or video
        }
      }
    } finally {
      this.isUploading = false;
    }
    this.show(state ?? (await request("/api/adaptation")));
    if (refused.length) throw new Error(refused.length === 1 ? refused[0] : `${refused.length} files were refused, such as ${refused[0]}`);
  }

  async start() {
    showError(null);
    const method = document.querySelector("input[name=method]:checked")?.value ?? null;
    element("start").disabled = true;
    this.show(await post(query("/api/adaptation", { method, hand: chosenHand(this.model) })));
    element("run").scrollIntoView({ block: "start" });
  }

  async cancel() {
    element("cancel").disabled = true;
    element("run-text").textContent = "Ending: the step under way is saved first.";
    this.isCancelling = true;
    try {
      this.show(await remove("/api/adaptation"));
    } finally {
      this.isCancelling = false;
      element("cancel").disabled = false;
    }
  }

  show(state) {
    const isRunning = state.state === "running";
    element("setup").hidden = isRunning;
    this.showFiles(state.uploads);
    this.showMethods(state.methods, state.uploads.kind);
    element("start").disabled = state.uploads.count === 0;
    this.showRun(state);
  }

  showFiles({ count, kind, bytes }) {
    element("files").hidden = count === 0;
    const name = kind === "video" ? (count === 1 ? "video" : "videos") : count === 1 ? "picture" : "pictures";
    const size = bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
    const text = `${count} ${name}, ${size}`;
    if (count && element("files-text").textContent !== text) element("files-text").textContent = text;
  }

  showMethods(methods, kind) {
    const isUsable = (method) => kind === null || method.kinds.includes(kind);
    const usable = methods.filter(isUsable);
    const best = usable.find((method) => method.default_for.includes(kind ?? "video"));
    const chosen = usable.find((method) => method.name === this.chosen) ?? best;
    const list = element("methods");
    if (!list.children.length) list.append(...methods.map(choice));
    methods.forEach((method, i) => {
      const input = list.children[i].querySelector("input");
      input.disabled = !isUsable(method);
      input.checked = method === chosen;
    });
  }

  showRun({ state, run }) {
    element("run").hidden = run === null;
    if (run === null) return;
    const isDone = state === "finished";
    const runLeft = run.stages.at(-1)?.run_left;
    const text = {
      running: `Running for ${clock(run.seconds)}.${runLeft ? ` About ${runLeft.replace("<1 min", "a minute")} left in all.` : ""}`,
      finished: `Finished in ${clock(run.seconds)}.`,
      cancelled: `Cancelled after ${clock(run.seconds)}.`,
      failed: sentence(`Failed: ${run.error}`),
    }[state];
    const titles = { running: "The model is adapting", finished: "The model is adapted", cancelled: "The adaptation was cancelled", failed: "The adaptation failed" };
    element("run-title").textContent = `${titles[state]} (${run.method})`;
    if (element("run-text").textContent !== text) element("run-text").textContent = text;
    element("run-text").className = state === "failed" ? "message error" : "muted";
    element("run-text").setAttribute("aria-live", state === "running" ? "off" : "polite");
    this.showStages(run.stages, state === "running");
    element("cancel").hidden = state !== "running";
    element("model-zip").hidden = !isDone;
    const hasReport = isDone && run.has_report;
    element("report-link").hidden = !hasReport;
    element("report").hidden = !hasReport;
    if (hasReport && !element("report").src.endsWith("/api/adaptation/report")) element("report").src = "/api/adaptation/report";
    if (!hasReport) element("report").removeAttribute("src");
    element("notes").hidden = run.notes.length === 0;
    if (element("notes").textContent !== run.notes.join("\n")) element("notes").textContent = run.notes.join("\n");
  }

  showStages(stages, isRunning) {
    const list = element("stages");
    while (list.children.length > stages.length) list.lastChild.remove();
    if (stages.length === 0 && isRunning) element("run-text").textContent += " Reading the footage …";
    stages.forEach((stage, i) => {
      if (!list.children[i]) list.append(stageRow());
      const row = list.children[i];
      const isDone = i < stages.length - 1 || stage.done >= stage.total;
      const name = stage.label.replace(/^\d+ /, "").replaceAll("-", " ");
      row.querySelector("b").textContent = name.charAt(0).toUpperCase() + name.slice(1);
      const remaining = isDone ? clock(stage.elapsed_s) : stage.remaining_s === null ? "" : `${clock(stage.remaining_s)} left`;
      const loss = stage.loss === null ? "" : `loss ${stage.loss.toFixed(3)}`;
      row.querySelector("span").textContent = [`${stage.done} of ${stage.total}`, loss, remaining].filter(Boolean).join(" · ");
      const bar = row.querySelector("progress");
      bar.value = stage.done / stage.total;
      bar.setAttribute("aria-label", name);
    });
  }
}

function choice(method) {
  const label = Object.assign(document.createElement("label"), { className: "choice" });
  const input = Object.assign(document.createElement("input"), { type: "radio", name: "method", value: method.name });
  const needs = method.kinds.includes("image") ? "" : " Needs video.";
  const title = Object.assign(document.createElement("b"), { textContent: method.title });
  const summary = Object.assign(document.createElement("span"), { className: "muted", textContent: sentence(method.summary) + needs });
  label.append(input, title, summary);
  return label;
}

function stageRow() {
  const row = document.createElement("li");
  const name = Object.assign(document.createElement("div"), { className: "name" });
  name.append(document.createElement("b"), document.createElement("span"));
  row.append(name, Object.assign(document.createElement("progress"), { max: 1 }));
  return row;
}

guarded(async () => new AdaptPage(await loadModel()).follow())();
