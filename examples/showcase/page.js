// The showcase's page: figures once a second, and a button for each endpoint. Plain DOM, nothing loaded from elsewhere.

const $ = (id) => document.getElementById(id);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

const text = (id, value) => { $(id).textContent = value; };
const whole = (n) => Math.round(n).toLocaleString("en");

function bytes(n) {
  const units = ["bytes", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) { n /= 1024; unit += 1; }
  return `${unit === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${units[unit]}`;
}

function duration(seconds) {
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

function rate(amount, milliseconds) {
  return `${bytes(amount / Math.max(milliseconds / 1000, 0.001))}/s`;
}

// ---- figures

const history_length = 120;
const history = { requests: [], cpu: [] };

function draw_line(id, values) {
  const width = 240, height = 48, top = Math.max(...values, 1) * 1.1;
  const step = width / (history_length - 1);
  const first = width - (values.length - 1) * step;
  const y = (value) => height - 1 - (value / top) * (height - 2);
  const points = values.map((value, i) => `${(first + i * step).toFixed(1)},${y(value).toFixed(1)}`);
  const shape = (name, className, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    made.setAttribute("class", className);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  $(id).replaceChildren(
    shape("polygon", "area", { points: `${first},${height} ${points.join(" ")} ${width},${height}` }),
    shape("polyline", "stroke", { points: points.join(" ") }));
}

function remember(name, value) {
  history[name].push(value);
  if (history[name].length > history_length) history[name].shift();
  draw_line(`${name}-line`, history[name]);
}

function show_totals(now) {
  text("requests-total", whole(now.http.requests));
  text("open", whole(now.http.open));
  text("accepted", whole(now.http.accepted));
  text("alive", whole(now.tasks_alive));
  text("memory", bytes(now.process.resident_bytes));
  text("files", whole(now.process.open_files));
  text("uptime", duration(now.uptime_seconds));
  text("process", now.process_id);
  for (const each of ["started", "finished", "cancelled"]) text(`slow-${each}`, now.slow[each]);
}

function show_rates(now, before) {
  const seconds = now.uptime_seconds - before.uptime_seconds;
  if (seconds <= 0) return;
  const requests = (now.http.requests - before.http.requests) / seconds;
  const cpu = (100 * (now.process.cpu_seconds - before.process.cpu_seconds)) / seconds;
  text("requests", requests < 10 ? requests.toFixed(1) : whole(requests));
  text("cpu", `${cpu < 10 ? cpu.toFixed(1) : whole(cpu)} %`);
  remember("requests", requests);
  remember("cpu", cpu);

  const rates = ["turns", "polls", "callbacks", "stolen", "parks", "completions", "enters"];
  $("workers").replaceChildren(...now.workers.map((worker, i) => {
    const per_second = rates.map((key) => whole((worker[key] - before.workers[i][key]) / seconds));
    const row = document.createElement("tr");
    for (const cell of [i, ...per_second, whole(worker.timers), whole(worker.in_flight)]) {
      row.insertCell().textContent = cell;
    }
    return row;
  }));
}

function show_log(lines) {
  if (lines.length === 0) return;
  $("log").replaceChildren(...lines.map((line) => {
    const item = document.createElement("li");
    item.textContent = line;
    if (line.includes("cancelled")) item.className = "bad";
    if (line.endsWith("done") || line.endsWith("sent")) item.className = "good";
    return item;
  }));
}

async function read_figures() {
  const answer = await fetch("/metrics.json", { signal: AbortSignal.timeout(5000) });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.json();
}

async function watch() {
  let before = null;
  for (;;) {
    try {
      const now = await read_figures();
      if (before && now.process_id !== before.process_id) before = null;  // another server answers
      show_totals(now);
      show_log(now.log);
      if (before) show_rates(now, before);
      before = now;
      $("status").className = "pill live";
      text("status", "live");
    } catch {
      $("status").className = "pill lost";
      text("status", "no answer");
    }
    await sleep(1000);
  }
}

// ---- what the buttons share

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
      if (controller.signal.aborted) say(name, "Stopped.");
      else say(name, `Failed: ${e.message}`, "bad");
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

// ---- GET /api/hello

action("hello", async (signal) => {
  const start = performance.now();
  const answer = await fetch("/api/hello", { signal });
  const body = await answer.text();
  say("hello", `${answer.status} in ${(performance.now() - start).toFixed(1)} ms\n${body.trim()}`);
});

$("hello-many").addEventListener("click", async (event) => {
  const button = event.target, count = 1000, at_once = 6;  // browsers open six connections to a host
  button.disabled = true;
  try {
    const start = performance.now();
    let left = count;
    const ask = async () => { while (left-- > 0) await (await fetch("/api/hello")).arrayBuffer(); };
    await Promise.all(Array.from({ length: at_once }, ask));
    const took = performance.now() - start;
    say("hello", `${count} answers in ${(took / 1000).toFixed(2)} s: ${whole((count * 1000) / took)} per second.
The browser is the limit here: try wrk, below.`);
  } catch (e) {
    say("hello", `Failed: ${e.message}`, "bad");
  }
  button.disabled = false;
});

// ---- GET /download

action("download", async (signal) => {
  const start = performance.now();
  $("download-bar").value = 0;
  const answer = await fetch(`/download?mb=${$("download-size").value}`, { signal, cache: "no-store" });
  if (!answer.ok) throw new Error((await answer.json()).error);
  const size = Number(answer.headers.get("Content-Length"));
  const reader = answer.body.getReader();
  let seen = 0, shown = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    seen += value.length;
    const now = performance.now();
    if (now - shown < 100) continue;
    shown = now;
    $("download-bar").value = seen / size;
    say("download", `${bytes(seen)} of ${bytes(size)}, ${rate(seen, now - start)}`);
  }
  const took = performance.now() - start;
  $("download-bar").value = 1;
  say("download", `${bytes(seen)} in ${(took / 1000).toFixed(2)} s: ${rate(seen, took)}`, "good");
});

// ---- POST /upload

const crc_table = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit += 1) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

function crc32(data) {
  let state = -1;
  for (let i = 0; i < data.length; i += 1) state = crc_table[(state ^ data[i]) & 255] ^ (state >>> 8);
  return (~state >>> 0).toString(16).padStart(8, "0");
}

function noise(megabytes) {
  const data = new Uint8Array(megabytes * 1024 * 1024);
  crypto.getRandomValues(data.subarray(0, 65536));
  for (let filled = 65536; filled < data.length; filled *= 2) data.copyWithin(filled, 0, filled);
  return data;
}

async function chosen_data() {
  const size = $("upload-size").value;
  if (size !== "file") return noise(Number(size));
  const file = $("upload-file").files[0];
  if (!file) throw new Error("choose a file first");
  return new Uint8Array(await file.arrayBuffer());
}

// XMLHttpRequest, because fetch does not tell how far an upload has come.
function post(data, signal, on_progress) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/upload");
    request.upload.onprogress = (event) => on_progress(event.loaded);
    request.onload = () => (request.status === 200 ? done(JSON.parse(request.responseText))
                                                   : fail(new Error(request.responseText.trim())));
    request.onerror = () => fail(new Error("the connection broke"));
    request.onabort = () => fail(new Error("stopped"));
    signal.addEventListener("abort", () => request.abort());
    request.send(data);
  });
}

action("upload", async (signal) => {
  $("upload-bar").value = 0;
  say("upload", "Preparing the data…");
  await sleep(20);
  const data = await chosen_data();
  const expected = crc32(data);
  const start = performance.now();
  const answer = await post(data, signal, (sent) => {
    $("upload-bar").value = data.length ? sent / data.length : 1;
    say("upload", `${bytes(sent)} of ${bytes(data.length)}, ${rate(sent, performance.now() - start)}`);
  });
  const same = answer.crc32 === expected && answer.bytes === data.length;
  $("upload-bar").value = 1;
  say("upload", `The server read ${whole(answer.bytes)} bytes in ${answer.seconds.toFixed(2)} s: ` +
    `${rate(answer.bytes, answer.seconds * 1000)}.\nCRC-32 ${answer.crc32}, ` +
    (same ? "the same as here." : `but here it is ${expected}.`), same ? "good" : "bad");
});

$("upload-size").addEventListener("change", (event) => { $("upload-file").hidden = event.target.value !== "file"; });

// ---- GET /slow

// What the server's log says about the request with that name, as soon as it says it.
async function server_says(name, word) {
  for (let tries = 0; tries < 20; tries += 1) {
    const line = (await read_figures()).log.find((each) => each.startsWith(`${name}: ${word}`));
    if (line) return line;
    await sleep(100);
  }
  return null;
}

action("slow", async (signal) => {
  const time = Number($("slow-time").value), start = performance.now();
  const ticking = setInterval(() => { $("slow-bar").value = Math.min((performance.now() - start) / time, 1); }, 100);
  let name = "";
  try {
    const answer = await fetch(`/slow?ms=${time}`, { signal, cache: "no-store" });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let all = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      all += value;
      name = all.split(" waits")[0];
      say("slow", all.trim());
    }
    if (!all.endsWith("done\n")) throw new Error("the server closed before it was done");
    say("slow", all.trim(), "good");
  } catch (e) {
    if (!signal.aborted) throw e;
    say("slow", "Left. Asking the server what it saw…");
    const line = name && await server_says(name, "cancelled");
    say("slow", line ? `The server saw it:\n${line}` : "The server has not said anything about it.", line ? "good" : "bad");
  } finally {
    clearInterval(ticking);
    $("slow-bar").value = 0;
  }
});

// ---- looking inside, and the terminal

for (const button of document.querySelectorAll("[data-show]")) {
  button.addEventListener("click", async () => {
    const path = button.dataset.show, shown = $("shown");
    shown.hidden = false;
    try {
      const answer = await fetch(path, { cache: "no-store" });
      shown.textContent = `GET ${path}\n${answer.status} ${answer.statusText}, ` +
        `${answer.headers.get("Content-Type")}\n\n${await answer.text()}`;
    } catch (e) {
      shown.textContent = `GET ${path}\n${e.message}`;
    }
  });
}

for (const item of $("commands").children) {
  const code = item.firstElementChild;
  code.textContent = code.textContent.replace("{origin}", location.origin);
  if (!navigator.clipboard) continue;  // only on localhost and over https
  const copy = document.createElement("button");
  copy.className = "quiet";
  copy.textContent = "Copy";
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code.textContent);
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  });
  item.append(copy);
}

watch();
