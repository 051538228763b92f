/** `start` as a process of its own, and what a second terminal can do beside it. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventually } from '../../test/support/eventually.ts';

const main = fileURLToPath(new URL('main.ts', import.meta.url));
const children = new Set<ChildProcess>();
let root = '';

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'millrace-serve-'));
});
after(async () => {
  for (const child of children) child.kill('SIGKILL');
  await rm(root, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

interface Running {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly ended: Promise<number | null>;
}

function millrace(...args: readonly string[]): Running {
  const child = spawn(process.execPath, ['--conditions=millrace-source', main, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.add(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
  const ended = new Promise<number | null>((resolve) => {
    child.once('exit', (code) => {
      children.delete(child);
      resolve(code);
    });
  });
  return { child, output: () => output, ended };
}

/** The address, once it serves. */
async function serving({ output }: Running): Promise<string> {
  const found = await eventually('the server', () => /serving (http:\S+)/.exec(output()), 30_000);
  return found[1] as string;
}

async function json(...args: readonly string[]) {
  const { ended, output } = millrace(...args, '--json');
  const code = await ended;
  return { code, body: JSON.parse(output()) };
}

test('a second terminal ingests through the server, and Ctrl-C stops it cleanly', async (t) => {
  const data = join(root, 'one');
  const blocker = createServer();
  const taken = await new Promise<number>((resolve) => {
    blocker.listen(0, '127.0.0.1', () => resolve((blocker.address() as { port: number }).port));
  });
  t.after(() => blocker.close());
  const server = millrace('start', '--no-sample', '--data', data, '--port', String(taken));
  const url = await serving(server);
  assert.notEqual(url, `http://127.0.0.1:${taken}`);
  assert.match(server.output(), new RegExp(`port ${taken} is taken`));

  const file = join(root, 'my.ndjson');
  const record = {
    exceptionId: 'R-1',
    domain: 'finance',
    exceptionType: 'SETTLEMENT_FAIL',
    failCode: 'SSI',
    daysOverdue: 1,
  };
  await writeFile(file, `${JSON.stringify(record)}\nnot json {\n`);
  const args = ['ingest', file, '--tenant', 'northwind', '--source', 'ndjson', '--data', data];
  const first = await json(...args);
  assert.equal(first.code, 0);
  assert.equal(first.body.url, url);
  assert.deepEqual([first.body.ingest.exceptions, first.body.ingest.duplicates], [1, 0]);
  assert.equal((await json(...args)).body.ingest.duplicates, 1);
  const counts = await eventually('the exception in the statistics', async () => {
    const response = await fetch(`${url}/ops/statistics`);
    const { app } = (await response.json()) as { app: { total: number; byOutcome: object } };
    return app.total === 1 && app;
  });
  assert.equal(counts.total, 1);
  const mode = await json('mode', 'EventDrivenOnly', '--data', data);
  assert.deepEqual(mode.body, { mode: 'EventDrivenOnly' });
  assert.equal((await json('health', '--data', data)).body.server, url);
  const second = await json('start', '--data', data);
  assert.equal(second.code, 1);
  assert.equal(second.body.error.code, 'EMBEDDED_BUSY');
  assert.match(second.body.error.message, new RegExp(url));

  // Twice, as npm does it: that is one Ctrl-C.
  server.child.kill('SIGINT');
  setTimeout(() => server.child.kill('SIGINT'), 20);
  assert.equal(await server.ended, 0);
  await assert.rejects(stat(join(data, 'server.json')));
});

test('after kill -9 the next command opens the database, with all that was accepted', async () => {
  const data = join(root, 'two');
  const server = millrace('start', '--no-sample', '--data', data, '--port', '0');
  const url = await serving(server);
  const response = await fetch(`${url}/exceptions/acme`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ exception: { exceptionId: 'K-1', domain: 'finance' } }),
  });
  assert.equal(response.status, 202);
  server.child.kill('SIGKILL');
  await server.ended;
  assert.match(await readFile(join(data, 'server.json'), 'utf8'), /127\.0\.0\.1/);
  const listed = await json('events', 'list', '--tenant', 'acme', '--key', 'K-1', '--data', data);
  assert.equal(listed.code, 0);
  assert.ok(
    listed.body.items.some(
      ({ eventType }: { eventType: string }) => eventType === 'ExceptionIngested',
    ),
  );
});

test('start reads the configuration: telemetry that a file switches on answers', async () => {
  const config = join(root, 'config');
  const data = join(root, 'configured');
  await mkdir(join(config, 'base'), { recursive: true });
  await mkdir(join(config, 'environments', 'staging'), { recursive: true });
  const place = `[store]\ndata = ${JSON.stringify(data)}\n`;
  await writeFile(join(config, 'base', 'store.toml'), place);
  const overlay = `[telemetry]\nenabled = true\nservice_name = "staged"\n`;
  await writeFile(join(config, 'environments', 'staging', 'telemetry.toml'), overlay);
  const start = ['start', '--no-sample', '--port', '0', '--config', config];
  const plain = millrace(...start);
  const silent = await fetch(`${await serving(plain)}/metrics`);
  assert.notEqual(silent.status, 200, 'base alone leaves it off');
  await silent.text();
  plain.child.kill('SIGINT');
  assert.equal(await plain.ended, 0);

  const staged = millrace(...start, '--env', 'staging');
  const url = await serving(staged);
  const answer = await fetch(`${url}/metrics`);
  assert.equal(answer.status, 200);
  const text = await answer.text();
  assert.match(text, /service_name="staged"/);
  assert.match(text, /tasker_tasks_active/);
  const health = await json('health', '--config', config, '--env', 'staging');
  assert.equal(health.body.server, url, 'other commands find the same place');
  staged.child.kill('SIGINT');
  assert.equal(await staged.ended, 0);
});
