/**
 * Runs every fault test, or those whose file name contains an argument, and ends with one table.
 * MILLRACE_FAULTS_SCALE multiplies the sizes (1 for every commit, 25 for a night); MILLRACE_SEED
 * repeats a run; MILLRACE_FAULTS_BREAK=effects-outside proves that it can fail.
 */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import Table from 'cli-table3';
import { type LedgerLine, recovery } from './ledger.ts';

const folder = import.meta.dirname;
const wanted = process.argv.slice(2);
const files = fs
  .readdirSync(folder)
  .filter((file) => file.endsWith('.fault.test.ts'))
  .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
  .map((file) => path.join(folder, file));
const temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'millrace-ledger-'));
const ledger = path.join(temporary, 'ledger.jsonl');
fs.writeFileSync(ledger, '');

const from = performance.now();
// Two at a time: the tests wait more than they compute, and each has a server of its own.
const args = ['--conditions=millrace-source', '--test', '--test-concurrency=2', ...files];
const child = spawn(process.execPath, args, {
  stdio: 'inherit',
  env: { ...process.env, MILLRACE_FAULTS_LEDGER: ledger },
});
const code = await new Promise<number>((resolve) => {
  child.once('exit', (exit) => resolve(exit ?? 1));
});

const lines = fs
  .readFileSync(ledger, 'utf8')
  .split('\n')
  .filter(Boolean)
  .map((line) => JSON.parse(line) as LedgerLine);
fs.rmSync(temporary, { recursive: true });
const words = ['lost', 'unexpected', 'duplicated', 'outOfOrder', 'staleAccepted', 'holes', 'stuck'];
const table = new Table({
  head: [
    'fault',
    'times',
    'events',
    'lost',
    'unexp.',
    'dupl.',
    'order',
    'stale',
    'holes',
    'stuck',
    'recovery',
  ],
  style: { head: [], border: [] },
});
for (const line of lines) {
  const verdict = line.verdict as Readonly<Record<string, number | undefined>>;
  const cells = words.map((word) => verdict[word] ?? '-');
  table.push([line.fault, line.injected, line.events, ...cells, recovery(line)]);
}
console.log(table.toString());
const seconds = ((performance.now() - from) / 1000).toFixed(0);
console.log(`${lines.length} faults in ${seconds} s: ${code === 0 ? 'passed' : 'FAILED'}`);
process.exitCode = code;
