// peers/node_files.js: Node's column in the table of files (see ../files.py): fs.promises and streams, 64 at a time.
//
//   node node_files.js rand|seq|small|storm      in the directory WEIR_PERF_DIR, else /tmp
const fs = require('fs');
const { open, readFile, writeFile, stat, unlink, rename } = fs.promises;
const LANES = 64, PAGE = 4096, CHUNK = 65536, RANDOM_BYTES = 256 << 20, RANDOM_READS = 100000, WHOLE = 1 << 30;
const SMALL_FILES = 10000, SMALL_ROUNDS = 4, STORM_FILES = 1024, STORM_STATS = 100000;

const place = `${process.env.WEIR_PERF_DIR ?? '/tmp'}/node-files-${process.pid}`;
const names = (kind, count) => Array.from({ length: count }, (_, i) => `${place}/${kind}${i}`);
const begin = () => ({ wall: process.hrtime.bigint(), cpu: process.cpuUsage() });

function since(watch) {
  const used = process.cpuUsage(watch.cpu);
  return { wall: Number(process.hrtime.bigint() - watch.wall), cpu: (used.user + used.system) * 1e3 };
}

function print(key, spent, operations) {
  console.log(`${key} ${(spent.wall / operations).toFixed(2)}\n${key}_cpu ${(spent.cpu / operations).toFixed(2)}`);
}

async function inLanes(count, work) {
  const lane = async (first) => { for (let i = first; i < count; i += LANES) await work(i, first); };
  await Promise.all(Array.from({ length: LANES }, (_, i) => lane(i)));
}

async function measured(key, count, work) {
  const watch = begin();
  await inLanes(count, work);
  print(key, since(watch), count);
}

async function rand() {
  const name = `${place}/random`;
  fs.writeFileSync(name, Buffer.alloc(RANDOM_BYTES, 'x'));
  const file = await open(name, 'r');
  const pages = Array.from({ length: LANES }, () => Buffer.alloc(PAGE));
  const read = (_, lane) => file.read(pages[lane], 0, PAGE, Math.floor(Math.random() * RANDOM_BYTES / PAGE) * PAGE);
  await inLanes(RANDOM_READS / 4, read);
  await measured('rand4k', RANDOM_READS, read);
  await file.close();
}

async function writeWhole(name) {
  const chunk = Buffer.alloc(CHUNK, 'x');
  const out = fs.createWriteStream(name);
  for (let done = 0; done < WHOLE; done += CHUNK) {
    if (!out.write(chunk)) await new Promise((drained) => out.once('drain', drained));
  }
  await new Promise((closed) => out.end(closed));
}

const readWhole = (name) => new Promise((ended) => fs.createReadStream(name).on('data', () => {}).on('close', ended));

async function seq() {
  const name = `${place}/whole`;
  await writeWhole(name);
  await unlink(name);
  let watch = begin();
  await writeWhole(name);
  print('seq_write', since(watch), WHOLE / CHUNK);
  await readWhole(name);
  watch = begin();
  await readWhole(name);
  print('seq_read', since(watch), WHOLE / CHUNK);
}

async function small() {
  const all = names('f', SMALL_FILES), content = Buffer.alloc(1024, 'x');
  const phases = {
    create: (i) => writeFile(all[i], content), read: (i) => readFile(all[i]),
    stat1: (i) => stat(all[i]), unlink1: (i) => unlink(all[i]),
  };
  const sums = {};
  for (let round = 0; round < SMALL_ROUNDS; round++) {
    for (const [key, work] of Object.entries(phases)) {
      const watch = begin();
      await inLanes(SMALL_FILES, work);
      const spent = since(watch), sum = (sums[key] ??= { wall: 0, cpu: 0 });
      if (round === 0) continue;
      sum.wall += spent.wall;
      sum.cpu += spent.cpu;
    }
  }
  for (const key of Object.keys(phases)) print(key, sums[key], SMALL_FILES * (SMALL_ROUNDS - 1));
}

const makeEmpty = (all) => all.forEach((name) => fs.closeSync(fs.openSync(name, 'w')));

async function storm() {
  const all = names('f', STORM_FILES), others = names('x', STORM_FILES), many = names('u', SMALL_FILES);
  makeEmpty(all);
  const side = (i, odd) => ((Math.floor(i / STORM_FILES) + odd) % 2 ? others : all)[i % STORM_FILES];
  await inLanes(STORM_STATS / 10, (i) => stat(all[i % STORM_FILES]));
  await measured('stat', STORM_STATS, (i) => stat(all[i % STORM_FILES]));
  await measured('open_close', STORM_STATS, async (i) => (await open(all[i % STORM_FILES])).close());
  await measured('rename', 20 * STORM_FILES, (i) => rename(side(i, 0), side(i, 1)));
  makeEmpty(many);
  await measured('unlink', SMALL_FILES, (i) => unlink(many[i]));
}

const part = { rand, seq, small, storm }[process.argv[2]];
if (!part) {
  console.error('usage: node_files.js rand|seq|small|storm');
  process.exit(2);
}
fs.mkdirSync(place);
part().finally(() => fs.rmSync(place, { recursive: true }));
