// peers/js_micro.js: JavaScript's column in the in-process table (see ../micro.py): promises for tasks, setImmediate for
// a yield, worker_threads for "mt". Runs under node, bun and deno.
//
//   node --expose-gc js_micro.js st|mem|mt
const now = () => process.hrtime.bigint();
const immediate = () => new Promise((resolve) => setImmediate(resolve));
const cpu = () => { const u = process.cpuUsage(); return (u.user + u.system) * 1e3; };

function print(key, value) {
  console.log(key, value.toFixed(2));
}

function stopwatch() {
  const wall = now(), used = cpu();
  return {
    done: (key, n) => print(key, Number(now() - wall) / n),
    doneWithCpu(key, n) {
      const spent = cpu() - used;
      this.done(key, n);
      print(`${key}_cpu`, spent / n);
    },
  };
}

class Channel {
  #capacity; #queue = []; #head = 0; #receiver = null; #sender = null;

  constructor(capacity) { this.#capacity = capacity; }

  async send(x) {
    while (this.#queue.length - this.#head >= this.#capacity) await new Promise((r) => { this.#sender = r; });
    this.#queue.push(x);
    const wake = this.#receiver;
    this.#receiver = null;
    wake?.();
  }

  async receive() {
    while (this.#queue.length === this.#head) await new Promise((r) => { this.#receiver = r; });
    const x = this.#queue[this.#head++];
    if (this.#head > 1023) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    const wake = this.#sender;
    this.#sender = null;
    wake?.();
    return x;
  }
}

class Mutex {
  #locked = false; #waiting = [];

  async lock() {
    if (this.#locked) await new Promise((r) => this.#waiting.push(r));
    else this.#locked = true;
  }

  unlock() {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#locked = false;
  }
}

async function leaf(x) { return x + 1; }
async function deep(n) { return n === 0 ? 0 : (await deep(n - 1)) + 1; }
async function suspended(x) { await null; return x; }

async function awaitsAndSpawns() {
  let sum = 0, watch;
  for (let pass = 0; pass < 2; pass++) {
    watch = stopwatch();
    for (let i = 0; i < 3e6; i++) sum += await leaf(i);
  }
  watch.done('ready_await', 3e6);
  watch = stopwatch();
  for (let i = 0; i < 1000; i++) sum += await deep(1000);
  watch.done('depth_level', 1e6);
  watch = stopwatch();
  for (let i = 0; i < 1e6; i++) sum += await suspended(i);
  watch.done('spawn_join', 1e6);
  watch = stopwatch();
  await Promise.all(Array.from({ length: 1e6 }, (_, i) => suspended(i)));
  watch.done('spawn_many', 1e6);
  return sum;
}

async function yields() {
  let watch = stopwatch();
  for (let i = 0; i < 1e6; i++) await null;
  watch.done('yield_1_microtask', 1e6);
  watch = stopwatch();
  for (let i = 0; i < 3e5; i++) await immediate();
  watch.done('yield_1', 3e5);
  watch = stopwatch();
  await Promise.all(Array.from({ length: 100 }, async () => { for (let i = 0; i < 5000; i++) await immediate(); }));
  watch.done('yield_100', 5e5);
}

async function channelsAndLocks() {
  let sum = 0;
  for (const capacity of [1, 64]) {
    const channel = new Channel(capacity), watch = stopwatch();
    const sender = (async () => { for (let i = 0; i < 1e6; i++) await channel.send(i); })();
    for (let i = 0; i < 1e6; i++) sum += await channel.receive();
    await sender;
    watch.done(`chan_same_cap${capacity}`, 1e6);
  }
  const mutex = new Mutex();
  let watch = stopwatch();
  for (let i = 0; i < 2e6; i++) {
    await mutex.lock();
    sum++;
    mutex.unlock();
  }
  watch.done('mutex_uncontended', 2e6);
  watch = stopwatch();
  await Promise.all(Array.from({ length: 8 }, async () => {
    for (let i = 0; i < 1e5; i++) {
      await mutex.lock();
      sum++;
      await null;
      mutex.unlock();
    }
  }));
  watch.done('mutex_contended8', 8e5);
  return sum;
}

function timers() {
  const alive = new Array(1e6);
  for (let pass = 0; pass < 2; pass++) {
    let watch = stopwatch();
    for (let i = 0; i < 1e6; i++) alive[i] = setTimeout(() => {}, 60000 + (i % 600) * 1000);
    if (pass === 1) watch.done('timer_insert', 1e6);
    watch = stopwatch();
    for (let i = 0; i < 1e6; i++) clearTimeout(alive[i]);
    if (pass === 1) watch.done('timer_cancel', 1e6);
  }
}

async function memory() {
  globalThis.gc?.();
  const before = process.memoryUsage().rss, count = 1e6;
  let open;
  const gate = new Promise((r) => { open = r; });
  const tasks = Array.from({ length: count }, async (_, i) => { await gate; return i; });
  await immediate();
  globalThis.gc?.();
  print('idle_task_bytes', (process.memoryUsage().rss - before) / count);
  const watch = stopwatch();
  open();
  await Promise.all(tasks);
  watch.done('wake_all', count);
}

const WORKER = `
const { parentPort } = require('node:worker_threads');
parentPort.on('message', (x) => x === -1 ? process.exit() : parentPort.postMessage(x));
`;

async function twoThreads() {
  const { Worker } = require('node:worker_threads');
  const worker = new Worker(WORKER, { eval: true });
  await new Promise((r) => worker.once('online', r));
  let answered;
  worker.on('message', () => answered());
  const ask = (x) => new Promise((r) => { answered = r; worker.postMessage(x); });
  await ask(0);
  let watch = stopwatch();
  for (let i = 0; i < 50000; i++) await ask(i);
  watch.doneWithCpu('pingpong_threads_rt', 50000);
  const count = 300000;
  watch = stopwatch();
  await new Promise((resolve) => {
    let left = count;
    answered = () => { if (--left === 0) resolve(); };
    for (let i = 0; i < count; i++) worker.postMessage(i);
  });
  watch.doneWithCpu('chan_cross_cap1024', 2 * count);
  worker.postMessage(-1);
}

async function singleThread() {
  await awaitsAndSpawns();
  await yields();
  await channelsAndLocks();
  timers();
}

const run = { st: singleThread, mem: memory, mt: twoThreads }[process.argv[2]];
if (!run) {
  console.error('usage: js_micro.js st|mem|mt');
  process.exit(2);
}
run().then(() => process.exit(0));
