/** The commands about workflows on an embedded database: as child processes, and as functions. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { eventually } from '../../test/support/eventually.ts';
import { runCli } from './program.ts';
import { findServer } from './server-file.ts';

let root = '';
let data = '';
const hello = resolve('examples/workflows/hello.ts');
const index = resolve('src/index.ts');
const steps = resolve('src/workflows/steps/define-handler.ts');

/** Steps that fail until a file says otherwise, and a function that asks somebody. */
const handlersText = (flag: string) => `
import { existsSync } from 'node:fs';
import { permanentFailure } from ${JSON.stringify(index)};
import { defineHandler } from ${JSON.stringify(steps)};
export const check = defineHandler('check', {}, () => ({ ok: true }));
export const pay = defineHandler('pay', {}, () => {
  if (!existsSync(${JSON.stringify(flag)})) throw permanentFailure('the bank is closed');
  return { paid: 7 };
});
export const ship = defineHandler('ship', {}, () => 'shipped');
`;
const templateText = `
name: order
namespace_name: shop
version: 1.0.0
steps:
  - name: check
    handler: { callable: check }
  - name: pay
    handler: { callable: pay }
    dependencies: [check]
  - name: ship
    handler: { callable: ship }
    dependencies: [pay]
`;
const asksText = `
import { defineWorkflow } from ${JSON.stringify(index)};
export const asks = defineWorkflow('asks', { namespace: 'desk' }, async (ctx) => {
  const word = await ctx.waitForSignal('word');
  const { approved } = await ctx.approval('sure');
  return { word, approved };
});
`;

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'millrace-workflows-'));
  data = join(root, 'data');
  await writeFile(join(root, 'order.yaml'), templateText);
  await writeFile(join(root, 'handlers.ts'), handlersText(join(root, 'bank-is-open')));
  await writeFile(join(root, 'asks.ts'), asksText);
});
after(() => rm(root, { recursive: true, force: true }));

const never = new AbortController().signal;

async function on(command: string, ...more: readonly string[]) {
  return run([...command.split(' '), ...more, '--data', data]);
}

async function run(args: readonly string[], signal: AbortSignal = never) {
  const out: string[] = [];
  const err: string[] = [];
  const plain = { isTTY: false, columns: 100 };
  const code = await runCli(args, {
    stdin: Readable.from(['{"from":"stdin"}']),
    stdout: { ...plain, write: (text) => void out.push(text) },
    stderr: { ...plain, write: (text) => void err.push(text) },
    env: {},
    signal,
  });
  const text = out.join('');
  return {
    code,
    out: text,
    err: err.join(''),
    // biome-ignore lint/suspicious/noExplicitAny: each command prints another document
    get json(): any {
      return JSON.parse(text);
    },
  };
}

const main = ['--conditions=millrace-source', 'src/cli/main.ts'];

test('two commands show a workflow from a fresh clone', { timeout: 120_000 }, async () => {
  const place = ['--data', join(root, 'fresh')];
  // What it says to type next depends on who started it.
  const { npm_lifecycle_event: _, ...env } = process.env;
  const options = { timeout: 60_000, env };
  const child = (...args: string[]) =>
    promisify(execFile)(process.execPath, [...main, ...args, ...place], options);
  const ran = await child('workflow', 'run', 'hello', '--definitions', hello);
  const [, id] = /started ([0-9a-f-]{36})/.exec(ran.stdout) ?? [];
  assert.ok(id, ran.stdout);
  assert.match(ran.stdout, /✓ choose words {2}complete[\s\S]*✓ catch breath[\s\S]*✓ shout/);
  assert.match(
    ran.stdout,
    /is complete in .*\n"HELLO, WORLD!"\n {2}next {2}millrace workflow show /,
  );
  assert.equal(ran.stderr, '');
  const shown = await child('workflow', 'show', id.slice(-8));
  assert.match(shown.stdout, /state +complete[\s\S]*"HELLO, WORLD!"[\s\S]*choose words/);
});

const order = () => [
  '--definitions',
  join(root, 'order.yaml'),
  '--handlers',
  join(root, 'handlers.ts'),
];
const input = ['--input', '{"id":"o-1"}'];

test('templates run with handlers; a blocked run says why, and is mended', async () => {
  const blocked = await on('workflow run order', ...input, ...order());
  assert.equal(blocked.code, 1, blocked.out + blocked.err);
  assert.match(blocked.out, /✓ check[\s\S]*✗ pay {2}error .*the bank is closed/);
  assert.match(blocked.out, /is blocked_by_failures\n[\s\S]*next {2}millrace workflow why /);
  const [listed] = (await on('workflow list --state blocked_by_failures --json')).json.items;
  const id = listed.task_uuid;
  assert.equal(listed.name, 'order');

  const why = await on('workflow why', id);
  assert.match(why.out, /is blocked_by_failures\n {2}It is blocked since .* by one step/);
  assert.match(
    why.out,
    /Step pay failed .*the bank is closed .*\n {4}millrace workflow reset-step /,
  );
  const steps = (await on('workflow steps --json', id)).json.items;
  assert.deepEqual(
    steps.map(({ name, state }: { name: string; state: string }) => [name, state]),
    [
      ['check', 'complete'],
      ['pay', 'error'],
      ['ship', 'pending'],
    ],
  );
  assert.match((await on('workflow step', id, 'pay')).out, /enqueued_as_error_for_orchestration/);
  assert.match((await on('workflow visualize', id)).out, /flowchart TD[\s\S]*s1\["pay<br\/>error/);
  assert.match((await on('workflow step', id, 'nothing')).err, /has no step nothing/);

  const opened = await on('workflow dlq open --json', id, '--notes', 'The bank, again.');
  assert.equal(opened.json.reason, 'manual_dlq');
  assert.match((await on('workflow dlq list --queue')).out, /manual_dlq[\s\S]*dlq show/);
  assert.match((await on('workflow dlq show', opened.json.entry_id)).out, /The bank, again/);
  const entry = opened.json.entry_id;
  assert.match((await on('workflow dlq resolve', entry, '--notes', 'x')).out, /manually_resolved/);
  assert.match((await on('workflow dlq resolve', entry)).err, /DEAD_LETTER_STATE/);
  assert.equal((await on('workflow dlq stats --json')).json.by_reason.manual_dlq, 1);

  await writeFile(join(root, 'bank-is-open'), '');
  const mended = await on(
    'workflow retry',
    id,
    '--reason',
    'It opened.',
    '--by',
    'ann',
    ...order(),
  );
  assert.equal(mended.code, 0, mended.out + mended.err);
  assert.match(mended.out, /✓ pay[\s\S]*✓ ship[\s\S]*is complete/);
  const audit = (await on('workflow audit --json', id)).json.items as { reason: string | null }[];
  assert.ok(
    audit.some(({ reason }) => reason === 'It opened.'),
    JSON.stringify(audit),
  );
  const late = await on('workflow cancel', id);
  assert.match(late.err, /WORKFLOW_STATE[\s\S]*next {2}millrace workflow list/);
  assert.match((await on('workflow bottlenecks')).out, /shop\/order[\s\S]*pay/);
  assert.match((await on('workflow stale')).out, /No run is near a limit/);

  const again = await on('workflow run order', ...input, ...order());
  assert.equal(again.code, 1);
  assert.match(again.err, /WORKFLOW_DUPLICATE/);
});

test('a run that nobody works on is kept, told, and goes on with its definition', async () => {
  const asks = ['--definitions', join(root, 'asks.ts')];
  const started = await on('workflow run --no-wait --json', ...asks);
  assert.equal(started.code, 0, started.err);
  const id = started.json.task_uuid;
  const why = await on('workflow why', id.slice(-9));
  assert.match(why.out, /desk\/asks@1|signal word/);
  const sent = await on('workflow signal', id, 'word', '--payload', '"hello"');
  assert.match(sent.out, /signal word: is kept for the run\n {2}no server runs here/);
  const timed = await on('workflow approve', id, 'sure', ...asks);
  assert.equal(timed.code, 0, timed.out + timed.err);
  assert.match(timed.out, /is complete[\s\S]*"approved": true/);

  const other = (await on('workflow run --no-wait --json', ...asks)).json.task_uuid;
  assert.match((await on('workflow pause', other, ...asks)).out, /pause: .*/);
  const cancelled = await on('workflow cancel', other, '--reason', 'no', ...asks);
  assert.match(cancelled.out, /is cancelled/);
  const bulk = await on('workflow bulk cancel --name asks --dry-run');
  assert.match(bulk.out, /0 would be told to cancel/);
  assert.equal((await on('workflow bulk cancel')).code, 2);
});

test('mistakes are answered with what to type', async () => {
  const nothing = await on('workflow run nothing');
  assert.match(nothing.err, /WORKFLOW_UNKNOWN[\s\S]*next {2}millrace workflow run --help/);
  assert.match((await on('workflow run')).err, /No workflow was named[\s\S]*hello\.ts/);
  const missing = await on('workflow run x --definitions', join(root, 'absent.ts'));
  assert.deepEqual([missing.code, /There is no file/.test(missing.err)], [2, true]);
  const none = await on('workflow run x --definitions', resolve('src/cli/colors.ts'));
  assert.match(none.err, /exports no workflow; it exports colors/);
  assert.match((await on('workflow run x --handlers y')).err, /--handlers needs --definitions/);
  const bad = join(root, 'bad.yaml');
  await writeFile(bad, 'name: x\nnamespace_name: y\nversion: 1.0.0\nsteps:\n  - nam: z\n');
  const refused = await on('workflow run x --definitions', bad);
  assert.equal(refused.code, 1);
  assert.match(refused.err, /TEMPLATE_INVALID/);
  assert.match(refused.err, /bad\.yaml:5/);
  assert.match((await on('workflow show zz')).err, /is no id of a run/);
  assert.match((await on('workflow show ffffffff')).err, /NOT_FOUND[\s\S]*millrace workflow list/);
  assert.match((await on('workflow work')).err, /--definitions is missing/);
});

test('a running server is asked, and works on its definitions', { timeout: 120_000 }, async () => {
  const served = join(root, 'served');
  const args = ['start', '--no-sample', '--port', '0', '--definitions', hello, '--data', served];
  const child = spawn(process.execPath, [...main, ...args], { stdio: 'ignore' });
  try {
    const server = await eventually('it serves', () => findServer(served), 60_000);
    const at = ['--data', served];
    const ran = await run([
      'workflow',
      'run',
      'hello',
      '--wait',
      '--input',
      '{"name":"ann"}',
      ...at,
    ]);
    assert.equal(ran.code, 0, ran.out + ran.err);
    assert.match(ran.out, /"HELLO, ANN!"/);
    const templates = (await (await fetch(`${server.url}/v1/templates`)).json()) as {
      items: { name: string }[];
    };
    assert.deepEqual(
      templates.items.map(({ name }) => name),
      ['hello'],
    );
    const asks = ['--definitions', join(root, 'asks.ts'), ...at];
    const refused = await run(['workflow', 'run', 'asks', ...asks]);
    assert.match(refused.err, /WORKFLOW_UNKNOWN/);
    assert.match((await run(['workflow', 'work', ...asks])).err, /A server works here already/);
  } finally {
    child.kill('SIGTERM');
    if (child.exitCode === null) await once(child, 'exit');
  }
});
