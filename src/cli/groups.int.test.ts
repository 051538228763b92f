/** `millrace groups`: what keeps the log, and forgetting a group that nobody runs. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { names } from '../../test/support/mill.ts';
import { connect } from '../connect.ts';
import { runCli } from './program.ts';

let root = '';
const data = () => join(root, 'data');

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'millrace-groups-'));
  const mill = await connect(undefined, { directory: join(data(), 'postgres'), partitions: 2 });
  const { Thing } = names();
  await mill.store.streams.registerGroup({ group: 'old', eventTypes: ['*'], from: 'start' });
  await mill.publish(Thing, { tenantId: 't', key: 'k', payload: { n: 1 } });
  await mill.publish(Thing, { tenantId: 't', key: 'k', payload: { n: 2 } });
  await mill.stop();
});
after(() => rm(root, { recursive: true, force: true }));

async function on(command: string): Promise<{ code: number; out: string; err: string }> {
  const [out, err]: string[][] = [[], []];
  const stream = (lines: string[] | undefined) => ({
    isTTY: false,
    columns: 100,
    write: (text: string) => void lines?.push(text),
  });
  const code = await runCli([...command.split(' '), '--data', data()], {
    stdin: Readable.from(['']),
    stdout: stream(out),
    stderr: stream(err),
    env: {},
    signal: new AbortController().signal,
  });
  return { code, out: (out ?? []).join(''), err: (err ?? []).join('') };
}

test('groups are listed with what they keep, and one that is over is removed', async () => {
  const listed = await on('groups list');
  assert.equal(listed.code, 0, listed.err);
  assert.match(listed.out, /old .* partition \d, position 0/);
  assert.match(listed.out, /no process works on old, and it keeps events[\s\S]*groups remove old/);
  const { items } = JSON.parse((await on('groups list --json')).out);
  const old = items.find(({ group }: { group: string }) => group === 'old');
  assert.deepEqual([old.workers, old.behind, old.keeps, old.openFailures], [0, 2, 2, 0]);
  assert.match((await on('groups remove old')).out, /old is removed/);
  const again = await on('groups remove old');
  assert.equal(again.code, 1);
  assert.match(again.err, /NOT_FOUND[\s\S]*next {2}millrace groups list/);
  assert.doesNotMatch((await on('groups list')).out, /\bold\b/);
});

test('health says how long events are kept', async () => {
  assert.doesNotMatch((await on('health')).out, /log retention/);
  process.env.MILLRACE__LOG__RETENTION = '30d';
  try {
    const health = await on('health');
    assert.match(health.out, /log retention +30d, 0 events removed/);
  } finally {
    delete process.env.MILLRACE__LOG__RETENTION;
  }
});
