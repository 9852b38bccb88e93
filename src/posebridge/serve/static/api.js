// Requests to the server. Every failure is an Error whose message is one line for the page.

export async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server doesn't answer: is posebridge serve still running?");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(sentence(answer.error || response.statusText)), { status: response.status });
  return answer;
}

export const post = (path, body) => request(path, { method: "POST", body });
export const remove = (path) => request(path, { method: "DELETE" });

export function query(path, values) {
  const given = Object.entries(values).filter(([, value]) => value !== null);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

export function refuseLarge(file, maxMb) {
  if (file.size > maxMb * 1e6) {
    throw new Error(`${file.name} has ${Math.round(file.size / 1e6)} MB, and ${maxMb} MB are allowed: give a smaller or shorter one.`);
  }
  if (file.size === 0) throw new Error(`${file.name} is empty.`);
}

export function sentence(text) {
  const line = text.trim();
  return line.charAt(0).toUpperCase() + line.slice(1) + (/[.!?]$/.test(line) ? "" : ".");
}

export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const tail = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}
