// Makes tests/data/loop/node20.jsonl: programs for the event loop and the log that this Node makes of each.
//   node generate.mjs [rows] > node20.jsonl
// A program is kept if it logs the same five times over. What Node leaves open is not generated: times are 15 ms
// apart unless two timers are set together for the same time, and an operation runs when no immediate is pending.
import { stat } from 'node:fs';

let seed = 20;
const random = n => (seed = (seed * 1103515245 + 12345) % 2147483648, Math.floor(seed / 65536) % n);

let logs, used, ids;
const log = () => ['log', `L${logs++}`];

function freeDelay(at) {
  for (let tries = 0; tries < 20; ++tries) {
    const delay = 20 * (1 + random(4));
    if (used.every(t => Math.abs(t - at - delay) >= 15)) {
      used.push(at + delay);
      return delay;
    }
  }
  return 0;
}

function name(prefix) {
  if (random(3) != 0) return [];
  ids.add(prefix + random(4));
  return [[...ids].filter(id => id[0] == prefix).pop()];
}

function body(depth, at, calm) {
  const list = [log()];
  for (let i = random(4); i > 0 && logs < 40; --i) list.push(...statement(depth, at, calm));
  return list;
}

function statement(depth, at, calm) {
  const kind = random(12);
  if (kind < 2 || depth == 0) return [log()];
  if (kind < 5) return [['tick', body(depth - 1, at, calm)]];
  if (kind < 7) return [['micro', body(depth - 1, at, calm)]];
  if (kind < 9) return calm ? [log()] : [['immediate', body(depth - 1, at, calm), ...name('I')]];
  if (kind < 10) return ids.size ? [['clear', [...ids][random(ids.size)]]] : [log()];
  if (kind < 11 && calm) return [];
  const delay = freeDelay(at);
  if (delay == 0) return [log()];
  if (random(4) == 0 && delay == 20) {
    const times = 2 + random(2);
    for (let i = 2; i <= times; ++i) {
      if (used.some(t => Math.abs(t - at - 20 * i) < 15)) return [['timeout', 20, body(depth - 1, at + 20, calm)]];
    }
    for (let i = 2; i <= times; ++i) used.push(at + 20 * i);
    return [['interval', 20, times, [log(), ['tick', [log()]]]]];
  }
  const together = 1 + (random(3) == 0);
  return Array.from({ length: together }, () => ['timeout', delay, body(depth - 1, at + delay, calm), ...name('T')]);
}

function program() {
  logs = 0;
  used = [0];
  ids = new Set();
  const mode = ['timer', 'immediate', 'io'][random(3)];
  const calm = random(5) == 0;
  const list = [...body(3, 0, calm), ...body(3, 0, calm)];
  if (calm) list.push(['io', [log(), ['tick', [log()]], ['micro', [log()]]]]);
  return [mode, list];
}

function run(mode, list) {
  const seen = [];
  const named = new Map();
  const execute = statements => {
    for (const [what, ...args] of statements) {
      const then = index => () => execute(args[index]);
      switch (what) {
        case 'log': seen.push(args[0]); break;
        case 'tick': process.nextTick(then(0)); break;
        case 'micro': queueMicrotask(then(0)); break;
        case 'immediate': { const h = setImmediate(then(0)); if (args[1]) named.set(args[1], h); break; }
        case 'timeout': { const h = setTimeout(then(1), args[0]); if (args[2]) named.set(args[2], h); break; }
        case 'interval': {
          let left = args[1];
          const h = setInterval(() => { if (--left == 0) clearInterval(h); execute(args[2]); }, args[0]);
          break;
        }
        case 'clear': { const h = named.get(args[0]); clearTimeout(h); clearImmediate(h); break; }
        case 'io': stat('/', then(0)); break;
      }
    }
  };
  const start = () => execute(list);
  if (mode == 'timer') setTimeout(start, 1);
  if (mode == 'immediate') setImmediate(start);
  if (mode == 'io') stat('/', start);
  return new Promise(done => process.once('beforeExit', () => done(seen)));
}

// Each run ends when nothing is left to do; 'beforeExit' may start the next.
const rows = Number(process.argv[2] ?? 400);
for (let made = 0; made < rows;) {
  const args = program();
  const seen = [];
  for (let i = 0; i < 5; ++i) seen.push(JSON.stringify(await run(...args)));
  if (seen.some(each => each != seen[0])) continue;
  console.log(JSON.stringify({ op: 'loop.script', args, ok: JSON.parse(seen[0]) }));
  ++made;
}
