/** `millrace config`: what it shows and how it refuses. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { Readable } from 'node:stream';
import { it, type TestContext } from 'node:test';
import { exitCodes } from './failure.ts';
import type { Io } from './io.ts';
import { runCli } from './program.ts';

async function run(args: readonly string[], env: Io['env'] = {}) {
  const printed = { out: '', err: '' };
  const output = (to: 'out' | 'err') => ({
    isTTY: false,
    columns: 100,
    write: (text: string) => {
      printed[to] += text;
    },
  });
  const code = await runCli(['config', ...args], {
    stdin: Readable.from([]),
    stdout: output('out'),
    stderr: output('err'),
    env,
    signal: new AbortController().signal,
  });
  return { code, ...printed };
}

function directoryWith(t: TestContext, text: string): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'config-cli-'));
  t.after(() => rmSync(directory, { recursive: true }));
  mkdirSync(path.join(directory, 'base'));
  writeFileSync(path.join(directory, 'base', 'jobs.toml'), text);
  return directory;
}

it('show says where each value comes from', async (t) => {
  const directory = directoryWith(t, '[jobs]\n# more\nconcurrency = 12\n');
  const env = { MILLRACE__JOBS__GRACE: '9s' };
  const { code, out } = await run(['show', '--config', directory, '--json'], env);
  assert.equal(code, 0);
  const { items } = JSON.parse(out) as { items: { key: string; value: string; source: string }[] };
  const shown = (key: string) => items.find((item) => item.key === key);
  assert.deepEqual(shown('jobs.concurrency'), {
    key: 'jobs.concurrency',
    value: '12',
    source: path.join(directory, 'base/jobs.toml:3'),
  });
  assert.equal(shown('jobs.grace')?.source, 'MILLRACE__JOBS__GRACE');
  assert.equal(shown('jobs.retention')?.source, 'default');
  const table = await run(['show', '--config', directory], env);
  assert.match(table.out, /jobs\.concurrency\s+│\s+12\s+│.*jobs\.toml:3/);
});

it('check warns of what is accepted and has no effect', async (t) => {
  const text = '[worker.event_systems.worker.timing]\nclaim_timeout_seconds = 300\n';
  const directory = directoryWith(t, text);
  const { code, out, err } = await run(['check', '--config', directory]);
  assert.equal(code, 0);
  assert.match(out, /is right: 0 of/);
  assert.match(err, /^warning: .*jobs\.toml:2: .*claim_timeout_seconds .* no effect/);
  const json = await run(['check', '--config', directory, '--json']);
  const { ok, warnings } = JSON.parse(json.out) as { ok: boolean; warnings: unknown[] };
  assert.deepEqual([ok, warnings.length, json.err], [true, 1, '']);
});

it('check counts what is set, and refuses with every problem', async (t) => {
  const good = directoryWith(t, '[jobs]\nconcurrency = 12\ngrace = "1s"\n');
  const { code, out } = await run(['check', '--config', good, '--env', 'development']);
  assert.equal(code, 0);
  assert.match(out, /is right: 2 of \d+ keys are set, environment development/);
  const bad = directoryWith(t, '[jobs]\nconcurency = 12\ngrace = "soon"\n');
  const failed = await run(['check', '--config', bad]);
  assert.notEqual(failed.code, exitCodes.ok);
  assert.match(failed.err, /jobs\.toml:2: .*did you mean 'jobs\.concurrency'/);
  assert.match(failed.err, /jobs\.toml:3: jobs\.grace is "soon"/);
  assert.match(failed.err, /CONFIG_INVALID/);
});
