/** Every command, called as a function: what it prints, as JSON and for people; exit codes. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { runCli } from './program.ts';

let root = '';
let data = '';

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'millrace-cli-'));
  data = join(root, 'data');
});
after(() => rm(root, { recursive: true, force: true }));

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  // biome-ignore lint/suspicious/noExplicitAny: each command prints another document
  readonly json: any;
}

async function run(args: readonly string[], stdin = ''): Promise<Ran> {
  const out: string[] = [];
  const err: string[] = [];
  const plain = { isTTY: false, columns: 100 };
  const code = await runCli(args, {
    stdin: Readable.from([stdin]),
    stdout: { ...plain, write: (text) => void out.push(text) },
    stderr: { ...plain, write: (text) => void err.push(text) },
    env: {},
    signal: new AbortController().signal,
  });
  return {
    code,
    out: out.join(''),
    err: err.join(''),
    get json() {
      return JSON.parse(out.join(''));
    },
  };
}

/** A command on the test's own directory. */
const on = (command: string, ...more: readonly string[]) =>
  run([...command.split(' '), ...more, '--data', data]);

const records = [
  {
    exceptionId: 'E-1',
    domain: 'finance',
    exceptionType: 'SETTLEMENT_FAIL',
    amount: 10,
    failCode: 'SSI',
    daysOverdue: 1,
  },
  {
    exceptionId: 'E-2',
    domain: 'finance',
    exceptionType: 'SETTLEMENT_FAIL',
    amount: 20,
    failCode: 'SSI',
    daysOverdue: 9,
  },
  { exceptionId: 'E-3', domain: 'no-such-domain', exceptionType: 'SETTLEMENT_FAIL' },
];
const lines = [...records.map((record) => JSON.stringify(record)), '{"half": '];

test('who names no verb gets the help of the command, and exit code 2', async () => {
  for (const command of ['jobs', 'workflow dlq']) {
    const { code, err } = await run(command.split(' '));
    assert.equal(code, 2);
    assert.match(err, new RegExp(`Usage: millrace .*${command.split(' ').at(-1)}`));
  }
  const wrong = await run(['jobs', 'lst']);
  assert.equal(wrong.code, 2);
  assert.match(wrong.err, /Did you mean list[\s\S]*next\s+millrace jobs --help/);
});

test('--version is of the program; a workflow has one of its own', async () => {
  const manifest = new URL('../../package.json', import.meta.url);
  const { version } = JSON.parse(await readFile(manifest, 'utf8'));
  assert.deepEqual(await run(['--version']).then(({ code, out }) => [code, out.trim()]), [
    0,
    version,
  ]);
  const own = await run(['workflow', 'run', 'x', '--version', '2', '--definitions', 'nofile.ts']);
  assert.match(own.err, /nofile\.ts/);
});

test('a directory that is a file is named, with what to do', async () => {
  const file = join(root, 'a-file');
  await writeFile(file, '');
  const { code, err } = await run(['health', '--data', file]);
  assert.equal(code, 1);
  assert.match(err, /a-file[\s\S]*fix\s+Check the path/);
});

test('wrong usage ends with 2 and says what to type', async () => {
  for (const args of [['strat'], ['start', '--port', 'x'], ['dead-letters', 'show', 'g'], []]) {
    assert.equal((await run(args)).code, 2, args.join(' '));
  }
  const { err } = await run(['strat']);
  assert.match(
    err,
    /unknown command 'strat'[\s\S]*Did you mean start[\s\S]*USAGE[\s\S]*fix[\s\S]*next/,
  );
  const { json, code } = await run(['mode', 'Fast', '--json']);
  assert.equal(code, 2);
  assert.equal(json.error.code, 'USAGE');
  const help = await run(['ingest', '--help']);
  assert.equal(help.code, 0);
  assert.match(help.out, /--tenant/);
});

test('start --once works through the sample and ends', async () => {
  const { code, json } = await run(['start', '--once', '--json', '--data', join(root, 'once')]);
  assert.equal(code, 0);
  assert.equal(json.url, null);
  assert.equal(json.pipeline.complete, true);
  assert.ok(json.ingest.exceptions > 200 && json.ingest.rejected > 0);
  assert.ok(json.ingest.informational > 0);
  assert.ok(json.statistics.deadLetters.length > 0);
  const { total, byStage } = json.statistics.app;
  assert.equal(total, json.ingest.exceptions - json.ingest.duplicates);
  assert.equal(
    Object.values(byStage as Record<string, number>).reduce((sum, count) => sum + count, 0),
    total,
  );
});

test('ingest tells rejected lines, stores the rest and works until they went through', async () => {
  const file = join(root, 'some.ndjson');
  await writeFile(file, `${lines.join('\n')}\n`);
  const first = await on('ingest --json --tenant northwind', file);
  assert.equal(first.code, 0);
  const { ingest, pipeline, statistics } = first.json;
  assert.deepEqual([ingest.exceptions, ingest.rejected, ingest.duplicates], [3, 1, 0]);
  assert.equal(ingest.rejections[0].line, 4);
  assert.equal(pipeline.complete, true);
  assert.equal(statistics.app.total, 3);
  assert.equal(statistics.deadLetters.length, 1);
  assert.match(statistics.deadLetters[0].reason, /no-such-domain/);

  const again = await on('ingest --tenant northwind', file);
  assert.equal(again.code, 0);
  assert.match(again.err, /rejected {2}some\.ndjson:4 /);
  assert.match(again.out, /Dead letters {2}1/);
  assert.match(again.out, /nothing new/);
  const missing = await on('ingest', join(root, 'nowhere.log'));
  assert.equal(missing.code, 1);
  assert.match(missing.err, /nowhere\.log/);
});

test('standard input is read, and --limit ends early', async () => {
  const more = lines.slice(0, 2).join('\n').replaceAll('E-', 'S-');
  const args = ['ingest', '-', '--tenant', 'southbank', '--limit', '1', '--json', '--data', data];
  const { code, json } = await run(args, more);
  assert.equal(code, 0);
  assert.deepEqual([json.ingest.exceptions, json.ingest.complete], [1, false]);
});

test('exceptions are listed and shown with their timeline', async () => {
  const { json } = await on('exceptions list --json');
  assert.equal(json.total, 4); // of both tenants
  const one = await on('exceptions list --json --tenant northwind --severity CRITICAL');
  assert.deepEqual(
    one.json.items.map((item: { exceptionId: string }) => item.exceptionId),
    ['E-2'],
  );
  const shown = await on('exceptions show E-1 --json');
  assert.equal(shown.json.exception.exceptionId, 'E-1');
  assert.equal(shown.json.events[0].eventType, 'ExceptionIngested');
  assert.match((await on('exceptions list')).out, /SETTLEMENT_FAIL/);
  assert.match((await on('exceptions show E-1')).out, /ExceptionNormalized/);
  const missing = await on('exceptions show NOPE');
  assert.equal(missing.code, 1);
  assert.match(missing.err, /NOT_FOUND[\s\S]*fix[\s\S]*next {2}millrace exceptions list/);
});

test('events are listed, shown and drawn as a tree', async () => {
  const { json } = await on('events list --json --tenant northwind --key E-1 --oldest-first');
  const [first, second] = json.items;
  assert.equal(first.eventType, 'ExceptionIngested');
  assert.equal((await on(`events show ${second.eventId} --json`)).json.causationId, first.eventId);
  assert.match((await on(`events show ${second.eventId}`)).out, /payload/);
  assert.match(
    (await on(`events tree ${second.eventId}`)).out,
    /○ ExceptionIngested[\s\S]*● Exception/,
  );
  assert.ok((await on(`events tree ${second.eventId} --json`)).json.items.length > 5);
  assert.match((await on('events list --type FeedbackCaptured')).out, /FeedbackCaptured/);
});

test('dead letters are looked at, edited, retried, skipped and discarded', async () => {
  const { json } = await on('dead-letters list --json');
  const [letter] = json.items;
  assert.equal(letter.exceptionId, 'E-3');
  assert.match(
    (await on('dead-letters list')).out,
    /no-such-domain[\s\S]*dead-letters show intake/,
  );
  const ref = [letter.group, letter.eventId, '--tenant', 'northwind'];
  assert.match((await on('dead-letters show', ...ref)).out, /payload/);
  assert.equal((await on('dead-letters show --json', ...ref)).json.status, 'pending');
  const bulk = ['--tenant', 'northwind', '--fingerprint', letter.fingerprint];
  const dry = await on('dead-letters bulk retry --dry-run --json', ...bulk);
  assert.deepEqual([dry.json.matched, dry.json.changed], [1, 0]);
  assert.match((await on('dead-letters bulk retry --dry-run', ...bulk)).out, /1 would be changed/);

  const wrong = await on('dead-letters edit --payload {"x":1}', ...ref);
  assert.equal(wrong.code, 1);
  assert.match(wrong.err, /EVENT_INVALID/);
  const payload = JSON.stringify({
    ...letter.payload,
    rawPayload: { ...records[0], exceptionId: 'E-3' },
  });
  const { domain: _, ...rest } = JSON.parse(payload);
  const file = join(root, 'payload.json');
  await writeFile(file, JSON.stringify({ ...rest, domain: 'finance' }));
  const edited = await on(`dead-letters edit --json --payload @${file}`, ...ref);
  assert.equal(edited.json.status, 'retrying');
  // Nobody works here until the next start; then the retry is handled.
  const finished = await on('start --once --no-sample --json');
  assert.equal(finished.json.statistics.deadLetters.length, 0);
  const late = await on('dead-letters skip', ...ref);
  assert.equal(late.code, 1);
  assert.match(late.err, /DEAD_LETTER_STATE/);
  for (const verb of ['retry', 'retry-key', 'discard']) {
    assert.equal(
      (await on(`dead-letters ${verb} --json`, ...ref)).json.error.code,
      'DEAD_LETTER_STATE',
    );
  }
});

test('skip lets the rest go on, discard gives it up, bulk does it to all alike', async () => {
  const bad = ['X-1', 'X-2', 'X-3', 'X-4'].map((exceptionId) => ({
    exceptionId,
    domain: 'nowhere',
  }));
  const input = bad.map((record) => JSON.stringify(record)).join('\n');
  await run(['ingest', '-', '--tenant', 'acme', '--json', '--data', data], input);
  const { json } = await on('dead-letters list --json --tenant acme');
  assert.equal(json.items.length, 4);
  const ref = (i: number) => [json.items[i].group, json.items[i].eventId, '--tenant', 'acme'];
  assert.equal((await on('dead-letters skip --json', ...ref(0))).json.status, 'skipped');
  assert.match((await on('dead-letters discard', ...ref(1))).out, /is discarded/);
  const alike = ['--tenant', 'acme', '--fingerprint', json.items[2].fingerprint];
  assert.match((await on('dead-letters bulk discard', ...alike)).out, /2 of 2 changed/);
  assert.match((await on('dead-letters list --status pending')).out, /There are no dead letters/);
  assert.equal((await on('dead-letters bulk forget', ...alike)).code, 2);
});

test('health and mode answer without a server; changing the mode needs one', async () => {
  const health = await on('health --json');
  assert.equal(health.code, 0);
  assert.equal(health.json.server, null);
  assert.match((await on('health')).out, /^ok/);
  assert.match((await on('mode')).out, /Hybrid/);
  const refused = await on('mode PollingOnly');
  assert.equal(refused.code, 2);
  assert.match(refused.err, /No server runs here/);
});
