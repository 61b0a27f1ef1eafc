#!/usr/bin/env node
// tests/conformance/check.mjs DRIVER SUITE: asks the driver one group of tables and says whether all is well. The
// tables are the shared ones where they are found, asked by their own runner; else those beside this file. What has
// to be answered stands in suites.txt.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { spawn, spawnSync } from 'node:child_process';
import { isDeepStrictEqual } from 'node:util';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const [driver, suite] = process.argv.slice(2);
const whole = fs.readFileSync(path.join(here, 'suites.txt'), 'utf8').split('\n').includes(`${suite} whole`);

/// The rows of a table: what was right, what was not there, and what was wrong.
function sharedReports(runner) {
  const out = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'conformance-')), 'report.json');
  const run = spawnSync(process.execPath, [runner, driver, '--', `--suite=${suite.includes('/') ? suite : suite + '/'}`, '--no-live', '--fail=20', `--json=${out}`], { stdio: ['ignore', 'inherit', 'inherit'] });
  if (!fs.existsSync(out)) throw new Error(`the runner ended with ${run.status}`);
  const reports = JSON.parse(fs.readFileSync(out, 'utf8'));
  fs.rmSync(path.dirname(out), { recursive: true });
  return reports.filter(r => r.name.startsWith(suite));
}

async function ownReports() {
  const reports = [];
  const directory = path.join(here, 'tables');
  for (const file of fs.readdirSync(directory).sort()) {
    const name = file.replace(/\.jsonl$/, '').replace('--', '/');
    if (name.startsWith(suite)) reports.push(await askTable(name, path.join(directory, file)));
  }
  return reports;
}

async function askTable(name, file) {
  const rows = fs.readFileSync(file, 'utf8').trim().split('\n').map(line => JSON.parse(line));
  const report = { name, total: rows.length, passed: 0, unsupported: 0, failures: [] };
  const child = spawn(driver, [], { stdio: ['pipe', 'pipe', 'inherit'] });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  for (const [id, row] of rows.entries()) {
    child.stdin.write(JSON.stringify({ id, op: row.op, args: row.args }) + '\n');
    const { value, done } = await answers.next();
    if (done) { report.failures.push({ row, got: 'no answer' }); break; }
    const got = JSON.parse(value);
    const want = 'err' in row ? { id, err: row.err } : { id, ok: row.ok };
    if (got.unsupported) report.unsupported++;
    else if (isDeepStrictEqual(got, want)) report.passed++;
    else report.failures.push({ row, got });
  }
  child.stdin.end();
  const status = await new Promise(resolve => child.on('exit', resolve));
  if (status !== 0) report.failures.push({ got: `the driver ended with ${status}` });
  for (const each of report.failures) console.log(JSON.stringify(each));
  return report;
}

const places = [process.env.WEIR_CONFORMANCE_DIR, path.join(here, '../../../shared/conformance')];
const runner = places.filter(Boolean).map(p => path.join(p, 'run-tables.mjs')).find(p => fs.existsSync(p));
const reports = runner ? sharedReports(runner) : await ownReports();
if (reports.length === 0) process.exit(77);  // nothing of its own is kept for this group
const isOptional = r => r.name.includes('optional');
const counted = reports.every(isOptional) ? reports : reports.filter(r => !isOptional(r));
const sum = key => counted.reduce((all, r) => all + (Array.isArray(r[key]) ? r[key].length : r[key]), 0);
console.log(`${suite}: ${sum('passed')} of ${sum('total')} right, ${sum('unsupported')} not there, ${sum('failures')} wrong`);
if (sum('passed') === 0 || sum('failures') > 0 || (whole && sum('unsupported') > 0)) process.exit(1);
