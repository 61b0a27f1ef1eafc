// What the cards of the page do: one request each, started and cancelled by its buttons.

import { latest, on_figures } from "/live.js";
import { $, bytes, decimals, mib, rate, sleep, text, whole } from "/text.js";

// Runs one action at a time per card: `go` starts it, `stop` aborts its signal.
function action(name, run) {
  const go = $(`${name}-go`), stop = $(`${name}-stop`);
  go.addEventListener("click", async () => {
    const controller = new AbortController();
    const cancel = () => controller.abort();
    go.disabled = true;
    if (stop) { stop.disabled = false; stop.addEventListener("click", cancel, { once: true }); }
    try {
      await run(controller.signal);
    } catch (e) {
      if (!controller.signal.aborted) say(name, `Failed: ${e.message}`, "bad");
    } finally {
      go.disabled = false;
      if (stop) { stop.disabled = true; stop.removeEventListener("click", cancel); }
    }
  });
}

function say(name, message, tone = "") {
  const line = document.createElement("span");
  line.className = tone;
  line.textContent = message;
  $(`${name}-out`).replaceChildren(line);
}

const why_refused = async (answer) => new Error((await answer.json()).error);

// What `look(figures)` gives, as soon as it gives something; nothing after five seconds.
function figures_show(look) {
  return new Promise((done) => {
    const end = (found) => { clearTimeout(limit); forget(); done(found); };
    const limit = setTimeout(end, 5000);
    const forget = on_figures((now) => {
      const found = look(now);
      if (found) end(found);
    });
  });
}

// After the browser has left: what the server says about it. `count` is how many had been cancelled before.
async function tell_cancelled(name, key, count) {
  say(name, "Cancelled. Asking the server what it saw…");
  const line = await figures_show((now) => now[key].cancelled > count &&
    now.log.findLast((each) => each.startsWith(name) && each.includes("cancelled")));
  say(name, line ? `Cancelled. The server says:\n${line}` : "Cancelled; the server has not said anything.",
    line ? "good" : "bad");
}

const cancelled_so_far = (key) => (latest() ? latest()[key].cancelled : 0);

// ---- GET /api/hello

action("hello", async (signal) => {
  const start = performance.now();
  const answer = await fetch("/api/hello", { signal });
  const body = await answer.text();
  say("hello", `${answer.status} in ${decimals(performance.now() - start, 1)} ms\n${body.trim()}`);
});

$("hello-many").addEventListener("click", async (event) => {
  const button = event.target, count = 1000, at_once = 4;  // of the six connections that a browser opens to a host
  button.disabled = true;
  try {
    const start = performance.now();
    let left = count;
    const ask = async () => { while (left-- > 0) await (await fetch("/api/hello")).arrayBuffer(); };
    await Promise.all(Array.from({ length: at_once }, ask));
    const took = (performance.now() - start) / 1000;
    say("hello", `${whole(count)} answers in ${decimals(took, 2)} s: ${whole(count / took)} per second.
The browser is the limit here: try wrk, below.`, "good");
  } catch (e) {
    say("hello", `Failed: ${e.message}`, "bad");
  }
  button.disabled = false;
});

// ---- both transfers: what is on its way, as the server sees it

let tags = Math.floor(Math.random() * 2 ** 40);
const watched = {};  // by card: { tag, size, bytes, at }

function watch_transfer(name, size) {
  tags += 1;
  watched[name] = { tag: tags, size, bytes: 0, at: null };
  $(`${name}-bar`).value = $(`${name}-server-bar`).value = 0;
  text(`${name}-percent`, "0 %");
  text(`${name}-rate`, "–");
  return tags;
}

function show_progress(name, done) {
  $(`${name}-bar`).value = done;
  text(`${name}-percent`, `${Math.floor(100 * done)} %`);
}

on_figures((now) => {
  for (const each of now.transfers) {
    const mine = watched[each.kind];
    if (!mine || mine.tag !== each.tag) continue;
    $(`${each.kind}-server-bar`).value = each.bytes / mine.size;
    if (mine.at !== null) text(`${each.kind}-rate`, rate(each.bytes - mine.bytes, now.uptime_seconds - mine.at));
    mine.bytes = each.bytes;
    mine.at = now.uptime_seconds;
  }
});

// ---- GET /download

action("download", async (signal) => {
  const size = Number($("download-size").value) * mib, pace = Number($("download-pace").value) * mib;
  const cancelled = cancelled_so_far("downloads"), tag = watch_transfer("download", size), start = performance.now();
  let seen = 0, shown = 0;
  try {
    const answer = await fetch(`/download?mb=${size / mib}&tag=${tag}`, { signal, cache: "no-store" });
    if (!answer.ok) throw await why_refused(answer);
    for (const reader = answer.body.getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) break;
      seen += value.length;
      const spent = performance.now() - start;
      if (pace > 0) await sleep((1000 * seen) / pace - spent);
      if (spent - shown < 100) continue;
      shown = spent;
      show_progress("download", seen / size);
      say("download", `${bytes(seen)} of ${bytes(size)}, ${rate(seen, spent / 1000)}`);
    }
  } catch (e) {
    if (signal.aborted) await tell_cancelled("download", "downloads", cancelled);
    throw e;
  }
  const took = (performance.now() - start) / 1000;
  show_progress("download", seen / size);
  $("download-server-bar").value = 1;
  text("download-rate", rate(seen, took));
  say("download", `${bytes(seen)} in ${decimals(took, 2)} s: ${rate(seen, took)}`, "good");
});

// ---- POST /upload

const crc_table = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit += 1) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

async function crc32(blob) {
  let state = -1;
  for (const reader = blob.stream().getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) return (~state >>> 0).toString(16).padStart(8, "0");
    for (let i = 0; i < value.length; i += 1) state = crc_table[(state ^ value[i]) & 255] ^ (state >>> 8);
  }
}

function noise(megabytes) {
  const block = crypto.getRandomValues(new Uint8Array(65536));
  return new Blob(Array.from({ length: megabytes * 16 }, () => block));
}

function chosen_data() {
  const size = $("upload-size").value;
  if (size !== "file") return noise(Number(size));
  const file = $("upload-file").files[0];
  if (!file) throw new Error("choose a file first");
  const limit = latest()?.max_upload;
  if (limit && file.size > limit) throw new Error(`the server takes up to ${bytes(limit)}`);
  return file;
}

// XMLHttpRequest, because fetch does not tell how far an upload has come.
function post(path, data, signal, on_progress) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.upload.onprogress = (event) => on_progress(event.loaded);
    request.onload = () => (request.status === 200 ? done(JSON.parse(request.responseText))
                                                   : fail(new Error(request.responseText.trim())));
    request.onerror = () => fail(new Error("the connection broke"));
    request.onabort = () => fail(new Error("cancelled"));
    signal.addEventListener("abort", () => request.abort());
    request.send(data);
  });
}

const forget_limit = on_figures((now) => {
  if (now.max_upload) say("upload", `Up to ${bytes(now.max_upload)} is taken.`);
  forget_limit();
});

action("upload", async (signal) => {
  const data = chosen_data(), cancelled = cancelled_so_far("uploads");
  const tag = watch_transfer("upload", data.size), pace = $("upload-pace").value;
  say("upload", "Adding up the data…");
  const expected = await crc32(data);
  if (signal.aborted) return say("upload", "Cancelled before anything was sent.");
  const start = performance.now();
  let answer;
  try {
    answer = await post(`/upload?tag=${tag}${pace && `&mbps=${pace}`}`, data, signal, (sent) => {
      show_progress("upload", data.size ? sent / data.size : 1);
      say("upload", `${bytes(sent)} of ${bytes(data.size)}, ${rate(sent, (performance.now() - start) / 1000)}`);
    });
  } catch (e) {
    if (signal.aborted) await tell_cancelled("upload", "uploads", cancelled);
    throw e;
  }
  const same = answer.crc32 === expected && answer.bytes === data.size;
  show_progress("upload", 1);
  $("upload-server-bar").value = 1;
  text("upload-rate", rate(answer.bytes, answer.seconds));
  say("upload", `The server read ${whole(answer.bytes)} bytes in ${decimals(answer.seconds, 2)} s: ` +
    `${rate(answer.bytes, answer.seconds)}.\nCRC-32 ${answer.crc32}, ` +
    (same ? "the same as here." : `but here it is ${expected}.`), same ? "good" : "bad");
});

$("upload-size").addEventListener("change", (event) => { $("upload-file").hidden = event.target.value !== "file"; });

// ---- POST /crowd

const letters = { w: "wait", a: "answered", c: "cut" };
let shown_states = null;

function show_crowd(states) {
  if (states === shown_states) return;
  shown_states = states;
  const dots = $("crowd-dots"), count = { w: 0, a: 0, c: 0, n: 0 };
  while (dots.childElementCount > states.length) dots.lastChild.remove();
  while (dots.childElementCount < states.length) dots.append(document.createElement("i"));
  [...states].forEach((letter, i) => {
    count[letter] += 1;
    if (dots.children[i].className !== `dot ${letter}`) dots.children[i].className = `dot ${letter}`;
  });
  text("crowd-waiting", whole(count.w));
  text("crowd-answered", whole(count.a));
  text("crowd-cut-count", whole(count.c));
  dots.setAttribute("aria-label", count.n > 0 ? "No callers yet"
    : `${states.length} callers: ${Object.entries(letters).map(([key, word]) => `${count[key]} ${word}`).join(", ")}`);
}

const no_crowd = () => "n".repeat(Number($("crowd-size").value));
$("crowd-size").addEventListener("change", () => { if ($("crowd-stop").disabled) show_crowd(no_crowd()); });
on_figures((now) => { if (now.crowd) show_crowd(now.crowd); });
show_crowd(no_crowd());

action("crowd", async (signal) => {
  const size = $("crowd-size").value;
  $("crowd-cut").disabled = false;
  try {
    const answer = await fetch(`/crowd?n=${size}&ms=${$("crowd-time").value}`, { method: "POST", signal });
    if (!answer.ok) throw await why_refused(answer);
    say("crowd", `${size} callers wait.`);
    const lines = (await answer.text()).trim().split("\n");
    say("crowd", `The scope has ended: ${lines.at(-1)}.`, "good");
  } catch (e) {
    if (!signal.aborted) throw e;
    say("crowd", "Left.");
    const last_of = (log) => log.findLast((each) => each.startsWith("crowd: "));
    const line = await figures_show((now) => last_of(now.log)?.includes("client left") && last_of(now.log));
    say("crowd", line ? `Left. The server says:\n${line}` : "Left; the server has not said anything.", line ? "good" : "bad");
  } finally {
    $("crowd-cut").disabled = true;
  }
});

$("crowd-cut").addEventListener("click", async () => {
  try {
    const answer = await fetch("/crowd/cut?n=10", { method: "POST" });
    if (!answer.ok) throw await why_refused(answer);
  } catch (e) {
    say("crowd", `Failed: ${e.message}`, "bad");
  }
});
