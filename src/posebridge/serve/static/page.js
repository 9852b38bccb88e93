// What both pages do: the model's name, messages, and files that are dropped.

import { request } from "./api.js";

export const element = (id) => document.getElementById(id);

export function showError(error) {
  const message = element("error");
  message.hidden = !error;
  message.textContent = error ? error.message : "";
}

// Runs a task for an event; its failure is shown.
export const guarded = (task) => async (...values) => {
  try {
    await task(...values);
  } catch (error) {
    showError(error);
  }
};

export async function loadModel() {
  const model = await request("/api/model");
  element("model").textContent = `${model.name} · ${model.skeleton.name}`;
  element("limits").textContent = `Up to ${model.max_upload_mb} MB a file`;
  element("hands").hidden = model.subject !== "hand";
  element("detected-hand").hidden = !model.detects;
  if (model.detects) document.querySelector("input[name=hand][value='']").checked = true;
  return model;
}

// left, right, or null for the detected one.
export const chosenHand = (model) =>
  (model.subject === "hand" && document.querySelector("input[name=hand]:checked").value) || null;

export function acceptDrops(target, onFiles) {
  const marked = (isOver) => (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    target.classList.toggle("dragged", isOver);
  };
  document.addEventListener("dragover", marked(true));
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && marked(false)(event));
  document.addEventListener("drop", (event) => {
    marked(false)(event);
    if (event.dataTransfer?.files.length) onFiles([...event.dataTransfer.files]);
  });
}
