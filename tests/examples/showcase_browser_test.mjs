// Opens the showcase in a headless Chromium and uses its page as a person would: node showcase_browser_test.mjs
// PROGRAM DIRECTORY. Speaks WebDriver (https://www.w3.org/TR/webdriver2/) to chromedriver; needs nothing but Node.
// Waits for what the page shows, never for time. Screenshots go to DIRECTORY. Status 77: there is no Chromium here.

import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const [program, pictures] = process.argv.slice(2);
const patience = 60_000;
const started = [], browsers = [];
let passed = 0, failed = 0;

function check(what, holds, detail = "") {
  if (holds) passed += 1; else failed += 1;
  console.log(holds ? `ok: ${what}` : `FAILED: ${what}${detail === "" ? "" : `: ${detail}`}`);
}
const is = (what, value, expected) => check(what, value === expected, `'${value}' is not '${expected}'`);
const matches = (what, value, expected) => check(what, expected.test(value), `'${value}' is not like ${expected}`);

// ---- programs

class Program {
  constructor(path, args) {
    this.lines = [];
    this.wanted = [];
    this.process = spawn(path, args, { stdio: ["ignore", "pipe", "inherit"] });
    this.ended = new Promise((done) => {
      this.process.on("exit", (code, signal) => done(code ?? signal));
      this.process.on("error", (e) => done(e.message));
    });
    createInterface({ input: this.process.stdout }).on("line", (line) => {
      this.lines.push(line);
      this.wanted.filter((each) => line.includes(each.text)).forEach((each) => each.done(line));
    });
    started.push(this);
  }
  // The first line with that text, past or to come.
  line(text) {
    const known = this.lines.find((each) => each.includes(text));
    if (known) return known;
    const ended = this.ended.then((how) => { throw new Error(`it ended (${how}) before it said '${text}'`); });
    return within(`the line '${text}'`, Promise.race([ended, new Promise((done) => this.wanted.push({ text, done }))]));
  }
  end(signal) {
    this.process.kill(signal);
    return within("the end of a program", this.ended);
  }
}

function within(what, promise) {
  let limit;
  const late = new Promise((_, fail) => { limit = setTimeout(() => fail(new Error(`${what} did not come`)), patience); });
  return Promise.race([promise, late]).finally(() => clearTimeout(limit));
}

function find(...names) {
  for (const name of names) {
    try {
      return execFileSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).trim();
    } catch {
      continue;
    }
  }
  console.log(`skipped: there is no ${names.join(" or ")} (Debian: apt-get install chromium chromium-driver)`);
  process.exit(77);
}

async function start_showcase(port) {
  const server = new Program(program, ["--port", String(port), "--workers", "2", "--host", "127.0.0.1"]);
  const line = await server.line("listens on");
  return { server, port: Number(line.split(":").at(-1)) };
}

// ---- the browser

class Browser {
  static async start(chromium, chromedriver, profile) {
    const driver = new Program(chromedriver, ["--port=0"]);
    const browser = new Browser();
    const [, port] = /successfully on port (\d+)/.exec(await driver.line("successfully on port"));
    browser.at = `http://127.0.0.1:${port}`;
    const args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
      "--window-size=1280,900", `--user-data-dir=${profile}`];
    const { sessionId, capabilities } = await browser.ask("POST", "/session", { capabilities: { alwaysMatch: {
      browserName: "chrome",
      "goog:chromeOptions": { binary: chromium, args, perfLoggingPrefs: { enableNetwork: true, enablePage: false } },
      "goog:loggingPrefs": { browser: "ALL", performance: "ALL" },
    } } });
    browser.at += `/session/${sessionId}`;
    browsers.push(capabilities["goog:processID"]);
    return browser;
  }
  async ask(method, path, body) {
    const answer = await fetch(this.at + path, { method, body: body && JSON.stringify(body) });
    const { value } = await answer.json();
    if (!answer.ok) throw new Error(`${method} ${path}: ${value.message}`);
    return value;
  }
  run(code, ...args) { return this.ask("POST", "/execute/sync", { script: code, args }); }
  tools(cmd, params = {}) { return this.ask("POST", "/goog/cdp/execute", { cmd, params }); }
  text(id) { return this.run("return document.getElementById(arguments[0]).textContent", id); }
  async number(id) { return Number((await this.text(id)).replace(/[^0-9.]/g, "")); }
  async element(css) {
    return Object.values(await this.ask("POST", "/element", { using: "css selector", value: css }))[0];
  }
  async click(css) { await this.ask("POST", `/element/${await this.element(css)}/click`, {}); }
  async choose(id, value) {
    await this.run(`const list = document.getElementById(arguments[0]);
      list.value = arguments[1];
      list.dispatchEvent(new Event("change"));
      if (list.value !== arguments[1]) throw new Error("no such choice: " + arguments[1]);`, id, value);
  }
  // What `look` gives as soon as it gives something.
  async until(what, look) {
    const limit = Date.now() + patience;
    let seen;
    while (Date.now() < limit) {
      seen = await look();
      if (seen) return seen;
      await new Promise((done) => setTimeout(done, 50));
    }
    const page = await this.run("return document.body.innerText");
    throw new Error(`the page never showed ${what}; it shows:\n${page}`);
  }
  shows(id, pattern) {
    return this.until(`${pattern} in #${id}`, async () => pattern.exec(await this.text(id)));
  }
  log(type) { return this.ask("POST", "/se/log", { type }); }
}

const scheme = (value) => ({ features: [{ name: "prefers-color-scheme", value }, { name: "prefers-reduced-motion", value: "reduce" }] });

async function look_like(browser, colours, width, height) {
  await browser.tools("Emulation.setEmulatedMedia", scheme(colours));
  await browser.tools("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: width < 600 });
}

async function picture(browser, name, colours, width, height) {
  await look_like(browser, colours, width, height);
  await browser.run("scrollTo(0, 0)");
  const { data } = await browser.tools("Page.captureScreenshot", { format: "png", captureBeyondViewport: true,
    clip: { x: 0, y: 0, width, height: await browser.run("return document.documentElement.scrollHeight"), scale: 1 } });
  writeFileSync(join(pictures, name), Buffer.from(data, "base64"));
}

// ---- what is tested

async function figures_live(browser) {
  const drawn = () => browser.run(`return [...document.querySelectorAll(".chart .s0")].map((each) => each.getAttribute("d"))`);
  await browser.shows("status", /^live$/);
  const before = await browser.until("a line in each chart", async () => {
    const all = await drawn();
    return all.length === 8 && all.every(Boolean) && all;
  });
  is("there are six charts, and one for each of two workers", before.length, 8);
  await browser.until("charts that move", async () => (await drawn()).every((each, i) => each !== before[i]));
  check("the charts move", true);
  check("lag is a few milliseconds at most", (await browser.number("lag-p50")) < 50, await browser.text("lag-p50"));
  check("tasks are alive", (await browser.number("tasks")) >= 3, await browser.text("tasks"));
  check("this page's connections are counted", (await browser.number("open")) >= 1, await browser.text("open"));
  check("memory is shown", (await browser.number("memory")) > 1, await browser.text("memory"));
  is("each worker has a row", await browser.run(`return document.querySelectorAll("#workers tr").length`), 2);
  const foreign = await browser.run(`return performance.getEntriesByType("resource").map((each) => each.name)
    .filter((each) => !each.startsWith(location.origin + "/"))`);
  is("nothing is loaded from elsewhere", foreign.join(), "");
}

async function answers(browser) {
  await browser.click("#hello-go");
  await browser.shows("hello-out", /^200 in [0-9.]+ ms\n\{"message":"Hello from weir"/);
  const total = await browser.number("requests-total");
  await browser.click("#hello-many");
  await browser.shows("hello-out", /^1,000 answers in/);
  await browser.until("a thousand more requests", async () => (await browser.number("requests-total")) >= total + 1000);
  check("a thousand answers are counted", true);
  await browser.until("a scale beyond 10 requests per second", async () => Number((await browser.run(
    `return document.querySelector("[data-chart=requests] .scale").textContent`)).replace(",", "")) > 10);
  check("the chart of requests has seen them", true);
}

async function uploads(browser, file) {
  await browser.choose("upload-size", "64");
  await browser.click("#upload-go");
  await browser.shows("upload-out", /^The server read 67,108,864 bytes .*\n.*the same as here\.$/);
  is("an upload's progress reaches its end", await browser.text("upload-percent"), "100 %");
  matches("the server's rate is shown", await browser.text("upload-rate"), /^[0-9.]+ [KMG]iB\/s$/);

  await browser.choose("upload-size", "file");
  await browser.ask("POST", `/element/${await browser.element("#upload-file")}/value`, { text: file });
  await browser.click("#upload-go");
  await browser.shows("upload-out", /^The server read 3,000,001 bytes .*\n.*the same as here\.$/);
  is("a file's progress reaches its end", await browser.text("upload-percent"), "100 %");

  const large = `${file}.large`;
  writeFileSync(large, "");
  truncateSync(large, 2 ** 30 + 1);
  await browser.ask("POST", `/element/${await browser.element("#upload-file")}/value`, { text: large });
  await browser.click("#upload-go");
  await browser.shows("upload-out", /^Failed: the server takes up to 1\.0 GiB$/);
  check("a file beyond the limit is refused", true);

  await browser.choose("upload-size", "256");
  await browser.choose("upload-pace", "8");
  await browser.click("#upload-go");
  await browser.shows("upload-rate", /^[0-9.]+ MiB\/s$/);
  const rate = await browser.number("upload-rate");
  check("the server reads at the pace that was asked for", rate > 1 && rate < 16, String(rate));
  const done = await browser.number("upload-percent");
  check("progress shows what is on its way", done > 0 && done < 100, String(done));
  await browser.click("#upload-stop");
  const [, told] = await browser.shows("upload-out", /The server says:\n(upload \d+: cancelled after \d+ bytes, the client left)/);
  check(`cancelling the upload cancelled its handler (${told})`, true);
}

async function downloads(browser) {
  await browser.choose("download-size", "16");
  await browser.click("#download-go");
  await browser.shows("download-out", /^16\.0 MiB in /);
  is("a download's progress reaches its end", await browser.text("download-percent"), "100 %");

  await browser.choose("download-size", "4096");
  await browser.choose("download-pace", "8");
  await browser.click("#download-go");
  await browser.shows("download-rate", /^[0-9.]+ [KMG]iB\/s$/);
  const sent = await browser.run(`return document.getElementById("download-server-bar").value`);
  check("a slow reader is sent no more than buffers hold", sent * 4096 < 256, `${sent * 4096} MiB`);
  await browser.click("#download-stop");
  const [, told] = await browser.shows("download-out", /The server says:\n(download \d+: cancelled after \d+ bytes, the client left)/);
  check(`cancelling the download cancelled its handler (${told})`, true);
}

async function crowds(browser, on_way) {
  const all = async (...expected) => {
    const ids = ["crowd-waiting", "crowd-answered", "crowd-cut-count", "slow-running", "slow-finished", "slow-cancelled"];
    const seen = await Promise.all(ids.map((id) => browser.number(id)));
    return seen.join() === expected.join();
  };
  await browser.choose("crowd-size", "100");
  await browser.choose("crowd-time", "60000");
  await browser.click("#crowd-go");
  await browser.until("a hundred running handlers", () => all(100, 0, 0, 100, 0, 0));
  check("a hundred callers have a hundred handlers", true);
  check("tasks are counted with them", (await browser.number("tasks")) > 200, await browser.text("tasks"));
  check("and connections", (await browser.number("open")) >= 100, await browser.text("open"));
  await browser.click("#crowd-cut");
  await browser.until("ten cancelled handlers", () => all(90, 0, 10, 90, 0, 10));
  await browser.click("#crowd-cut");
  await browser.click("#crowd-cut");
  await browser.until("thirty cancelled handlers", () => all(70, 0, 30, 70, 0, 30));
  check("each caller that is cut takes its handler with it", true);
  is("the picture says the same in words", await browser.run(
    `return document.getElementById("crowd-dots").getAttribute("aria-label")`), "100 callers: 70 wait, 0 answered, 30 cut");
  await on_way();
  await browser.click("#crowd-stop");
  await browser.until("no running handlers", () => all(0, 0, 100, 0, 0, 100));
  await browser.shows("crowd-out", /The server says:\ncrowd: 0 answered, 100 cut, cancelled: the client left/);
  check("leaving the scope's handler leaves nothing of it", true);

  await browser.choose("crowd-size", "50");
  await browser.choose("crowd-time", "5000");
  await browser.click("#crowd-go");
  await browser.shows("crowd-out", /^The scope has ended: 50 answered, 0 cut\.$/);
  await browser.until("fifty answered callers", () => all(0, 50, 0, 0, 50, 100));
  check("callers that are let be are answered", true);
}

async function looks_inside(browser) {
  await browser.click(`[data-show="/tasks"]`);
  await browser.shows("shown", /close_on_signal/);
  await browser.click(`[data-show="/metrics"]`);
  await browser.shows("shown", /showcase_slow_cancelled_total 100\n/);
  await browser.click(`[data-show="/no/such/path"]`);
  await browser.shows("shown-title", /\n404 Not Found, application\/json/);
  await browser.click(`[data-show="/download?mb=lots"]`);
  await browser.shows("shown-title", /\n400 Bad Request, application\/json/);
  matches("a refusal says why", await browser.text("shown"), /mb is a whole number from 1 to 4096/);
  await browser.click(`[data-show="/tasks"]`);
  await browser.shows("shown", /close_on_signal/);
}

async function copies(browser, origin) {
  await browser.tools("Browser.grantPermissions", { origin, permissions: ["clipboardReadWrite", "clipboardSanitizedWrite"] });
  await browser.click("#commands li:nth-child(2) button");
  await browser.until("that it has copied", () => browser.run(
    `return document.querySelector("#commands li:nth-child(2) button").textContent === "Copied"`));
  is("a command is copied with this server's address", await browser.ask("POST", "/execute/async", {
    script: "navigator.clipboard.readText().then(arguments[0], (e) => arguments[0](String(e)))", args: [] }),
  `curl -o /dev/null '${origin}/download?mb=256'`);
}

async function points_back(browser) {
  await browser.run("scrollTo(0, 0)");
  const box = await browser.run(`return document.querySelector("[data-chart=lag] .chart").getBoundingClientRect()`);
  const move = (x, y) => browser.ask("POST", "/actions", { actions: [{ type: "pointer", id: "mouse",
    actions: [{ type: "pointerMove", duration: 0, x: Math.round(x), y: Math.round(y) }] }] });
  await move(box.x + box.width - 20, box.y + 20);
  const shown = () => browser.run(`return document.querySelectorAll(".chart .cursor:not([hidden])").length`);
  is("pointing at one chart points at that moment in all", await shown(), 8);
  await move(2, 2);
  is("and ends when the pointer leaves", await shown(), 0);
}

// WCAG 2.1, 1.4.3: text has a contrast of 4.5 to what is behind it.
const contrast_script = `
  const channels = (colour) => colour.match(/[0-9.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = channels(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const poor = new Set();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || element.closest("[hidden], :disabled, script")) continue;
    const [a, b] = [luminance(channels(getComputedStyle(element).color)), luminance(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.add(walk.currentNode.data.trim().slice(0, 30) + " " + ratio.toFixed(2));
  }
  return [...poor].join("; ");`;

async function accessible(browser) {
  for (const colours of ["light", "dark"]) {
    await look_like(browser, colours, 1280, 900);
    is(`all text has contrast, ${colours}`, await browser.run(contrast_script), "");
  }
  await browser.tools("Accessibility.enable");
  const { nodes } = await browser.tools("Accessibility.getFullAXTree");
  await browser.tools("Accessibility.disable");
  const roles = ["button", "combobox", "progressbar", "progressIndicator", "image", "link", "textbox"];
  const nameless = nodes.filter((each) => !each.ignored && roles.includes(each.role?.value) && !each.name?.value);
  is("everything to use has a name", nameless.map((each) => each.role.value).join(), "");
  const levels = await browser.run(`return [...document.querySelectorAll("h1, h2, h3")].map((each) => each.tagName[1]).join("")`);
  matches("headings are in order", levels, /^1(23*)+$/);
}

async function fits(browser) {
  for (const width of [320, 375, 768, 1280, 2560]) {
    await look_like(browser, "light", width, 900);
    const over = await browser.run("return document.documentElement.scrollWidth - innerWidth");
    check(`the page fits ${width} pixels`, over <= 0, `${over} too many`);
  }
  const ground = async (colours) => {
    await look_like(browser, colours, 1280, 900);
    return browser.run("return getComputedStyle(document.body).backgroundColor");
  };
  check("it follows the light and the dark scheme", (await ground("light")) !== (await ground("dark")));
}

async function nothing_went_wrong(browser, refusals) {
  const complaints = (await browser.log("browser")).filter((each) => each.level !== "INFO" && each.level !== "DEBUG")
    .map((each) => each.message).filter((each) => !refusals.some((path) => each.includes(path)));
  is("the console has no errors", complaints.join("\n"), "");
  const network = (await browser.log("performance")).map((each) => JSON.parse(each.message).message);
  const urls = new Map(network.filter((each) => each.method === "Network.requestWillBeSent")
    .map((each) => [each.params.requestId, each.params.request.url]));
  const broken = network.filter((each) => each.method === "Network.loadingFailed" && !each.params.canceled)
    .filter((each) => urls.has(each.params.requestId))  // others are the browser's own, which looks for its maker
    .map((each) => `${urls.get(each.params.requestId)} ${each.params.errorText}`);
  is("no request failed but those that were cancelled", broken.join(), "");
  const refused = network.filter((each) => each.method === "Network.responseReceived" && each.params.response.status >= 400)
    .map((each) => each.params.response.url).filter((each) => !refusals.some((path) => each.endsWith(path)));
  is("no request was refused but those that were to be", refused.join(), "");
}

// The page stays open while the server goes and comes back.
async function goes_and_comes_back(browser, server, port) {
  const at = Date.now();
  is("SIGTERM ends the server with status 0, though a page listens", await server.end("SIGTERM"), 0);
  check("and it does not wait for the page", Date.now() - at < 8000, `${Date.now() - at} ms`);
  check("it has said what it does", server.lines.some((each) => each.startsWith("SIGTERM: closing")) &&
    server.lines.at(-1).startsWith("closed: "), server.lines.slice(-3).join(" | "));
  await browser.shows("status", /^no answer$/);
  const { server: next } = await start_showcase(port);
  await browser.shows("status", /^live$/);
  await browser.until("the new process", async () => (await browser.text("process")) === String(next.process.pid));
  check("the page goes on with a server that comes back", true);
  is("SIGINT ends that with status 0 as well", await next.end("SIGINT"), 0);
}

async function test(work) {
  const chromium = find("chromium", "chromium-browser"), chromedriver = find("chromedriver");
  const file = join(work, "some file.bin");
  writeFileSync(file, Buffer.alloc(3_000_001, "weir"));
  const { server, port } = await start_showcase(0);
  const origin = `http://127.0.0.1:${port}`;
  const browser = await Browser.start(chromium, chromedriver, join(work, "profile"));
  await look_like(browser, "light", 1280, 900);
  await browser.ask("POST", "/url", { url: `${origin}/` });
  is("the page has its title", await browser.ask("GET", "/title"), "weir showcase");
  await figures_live(browser);
  await answers(browser);
  await uploads(browser, file);
  await downloads(browser);
  await crowds(browser, async () => {
    await picture(browser, "wide_light.png", "light", 1280, 900);
    await picture(browser, "wide_dark.png", "dark", 1280, 900);
    await picture(browser, "narrow_light.png", "light", 390, 844);
    await picture(browser, "narrow_dark.png", "dark", 390, 844);
    await look_like(browser, "light", 1280, 900);
  });
  await looks_inside(browser);
  await picture(browser, "inside.png", "light", 1280, 900);
  await copies(browser, origin);
  await points_back(browser);
  await accessible(browser);
  await fits(browser);
  await nothing_went_wrong(browser, ["/no/such/path", "/download?mb=lots"]);
  await goes_and_comes_back(browser, server, port);
  await browser.ask("DELETE", "");
}

mkdirSync(pictures, { recursive: true });
const work = mkdtempSync(join(tmpdir(), "showcase-"));
try {
  await test(work);
} catch (e) {
  check("the test came to its end", false, e.stack);
}
// A browser whose driver is killed goes on.
for (const each of browsers) {
  try {
    process.kill(each, "SIGKILL");
  } catch (e) {
    if (e.code !== "ESRCH") throw e;
  }
}
for (const each of started) each.process.kill("SIGKILL");
await Promise.all(started.map((each) => each.ended));
rmSync(work, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
console.log(`${passed} passed, ${failed} failed; screenshots: ${pictures}`);
process.exit(failed === 0 ? 0 : 1);
