// Figures as the server sends them over /events: charts, the table of workers, and its log. Others can listen along.

import { Chart, moments } from "/chart.js";
import { $, decimals, duration, mib, text, whole } from "/text.js";

const samples = [];  // of the last minute, by growing n
const listeners = new Set();  // told of all figures, with those before
let run = "", now = null, before = null;
let ago = null;  // the moment pointed at, counted back from the last

// Gives a function that ends it.
export function on_figures(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
export const latest = () => now;

// ---- charts

const charts = {
  requests: { series: [(s) => s.requests], least: 10, label: whole },
  lag: { series: [(s) => s.lag_p50, (s) => s.lag_p99], least: 0.5, label: (top) => `${top} ms` },
  tasks: { series: [(s) => s.tasks], least: 20, label: whole },
  open: { series: [(s) => s.open], least: 10, label: whole },
  memory: { series: [(s) => s.memory / mib], least: 10, label: (top) => `${top} MiB` },
  traffic: { series: [(s) => (s.sent + s.received) / mib], least: 10, label: (top) => `${whole(top)} MiB/s` },
};
const drawn = Object.entries(charts).map(([name, how]) =>
  new Chart(document.querySelector(`[data-chart="${name}"]`), how));
let gauges = [];

function point_at(moment) {
  ago = moment;
  draw();
}
for (const chart of drawn) chart.on_point(point_at);

function make_gauges(count) {
  if (gauges.length === count) return;
  $("gauges").replaceChildren();
  gauges = Array.from({ length: count }, (_, i) => {
    const place = document.createElement("div"), name = document.createElement("p"), share = document.createElement("b");
    place.className = "gauge numbers";
    name.append(`worker ${i}`, share);
    place.append(name);
    $("gauges").append(place);
    const chart = new Chart(place, { series: [(s) => s.busy[i]], least: 100, most: 100, label: () => "" });
    chart.on_point(point_at);
    return { chart, share };
  });
}

function show_sample(sample) {
  text("requests", whole(sample.requests));
  text("lag-p50", sample.lag_p50 === undefined ? "–" : decimals(sample.lag_p50, 2));
  text("lag-p99", sample.lag_p99 === undefined ? "–" : decimals(sample.lag_p99, 2));
  text("tasks", whole(sample.tasks));
  text("open", whole(sample.open));
  text("memory", decimals(sample.memory / mib, 1));
  text("traffic", decimals((sample.sent + sample.received) / mib, 1));
  gauges.forEach(({ share }, i) => { share.textContent = `${whole(sample.busy[i])} %`; });
}

function draw() {
  if (samples.length === 0 || document.hidden) return;
  const last = samples.at(-1).n;
  make_gauges(samples.at(-1).busy.length);
  const all = [...drawn, ...gauges.map((each) => each.chart)];
  for (const chart of all) {
    chart.draw(samples, last);
    chart.point_at(ago);
  }
  const pointed = ago === null ? samples.at(-1) : samples.find((each) => each.n === last - ago);
  if (pointed) show_sample(pointed);
  $("tiles").classList.toggle("past", ago !== null && pointed !== undefined);
}
document.addEventListener("visibilitychange", draw);

function remember(sample) {
  const [of_run, n] = sample.id.split("-");
  if (of_run !== run) {  // another server answers
    run = of_run;
    samples.length = 0;
    before = null;
  }
  if (samples.length > 0 && Number(n) <= samples.at(-1).n) return;
  samples.push({ ...sample, n: Number(n) });
  while (samples[0].n <= Number(n) - moments) samples.shift();
}

// ---- everything else

function show_workers() {
  const seconds = before ? now.uptime_seconds - before.uptime_seconds : 0;
  if (seconds <= 0) return;
  const rates = ["turns", "polls", "callbacks", "stolen", "parks", "completions", "enters"];
  const body = $("workers");
  while (body.rows.length < now.workers.length) {
    const row = body.insertRow();
    for (let i = 0; i < rates.length + 3; i += 1) row.insertCell();
  }
  now.workers.forEach((worker, i) => {
    const per_second = rates.map((key) => whole((worker[key] - before.workers[i][key]) / seconds));
    [i, ...per_second, whole(worker.timers), whole(worker.in_flight)].forEach((value, cell) => {
      body.rows[i].cells[cell].textContent = value;
    });
  });
}

function show_log(lines) {
  if (lines.length === 0) return;
  $("log").replaceChildren(...lines.map((line) => {
    const item = document.createElement("li");
    item.textContent = line;
    if (line.includes("cancelled")) item.className = "bad";
    return item;
  }));
}

function show_figures() {
  text("requests-total", whole(now.http.requests));
  text("uptime", duration(now.uptime_seconds));
  text("process", now.process_id);
  for (const each of ["running", "finished", "cancelled"]) text(`slow-${each}`, whole(now.slow[each]));
  show_workers();
  show_log(now.log);
}

function show_status(word, kind) {
  if ($("status").textContent === word) return;
  $("status").className = `pill ${kind}`;
  text("status", word);
}

// The browser connects anew by itself, and says what it has seen last; only after a refusal we have to.
export function watch() {
  const source = new EventSource("/events");
  source.addEventListener("past", (event) => {
    JSON.parse(event.data).forEach(remember);
    draw();
  });
  source.addEventListener("figures", (event) => {
    const all = JSON.parse(event.data);
    remember(all.sample);
    before = now && now.process_id === all.now.process_id ? now : null;
    now = all.now;
    show_status("live", "live");
    draw();
    show_figures();
    for (const listener of listeners) listener(now, before);
  });
  source.addEventListener("closing", () => show_status("closing", "lost"));
  source.addEventListener("error", () => {
    show_status("no answer", "lost");
    if (source.readyState === EventSource.CLOSED) setTimeout(watch, 2000);
  });
}
