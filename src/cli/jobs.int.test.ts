/** The commands about jobs, called as functions on an embedded database, as text and as JSON. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { eventually } from '../../test/support/eventually.ts';
import { connect } from '../connect.ts';
import { permanentFailure } from '../core/errors.ts';
import { defineJob } from '../core/job-definition.ts';
import { runCli } from './program.ts';

let root = '';
let data = '';

const Mail = defineJob('mail.send', {
  queue: 'mails',
  handler: ({ to }: { to: string }) => {
    if (to === 'nobody') throw permanentFailure('no such mailbox');
    return { sent: to };
  },
});

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'millrace-jobs-'));
  data = join(root, 'data');
  // What there is to look at: completed and dead jobs, and a schedule.
  const mill = await connect(undefined, { directory: join(data, 'postgres') });
  mill.jobs.work(Mail);
  await mill.start();
  await mill.jobs.enqueueMany(Mail, [{ to: 'ann' }, { to: 'bob' }]);
  await mill.jobs.enqueueMany(Mail, [{ to: 'nobody' }, { to: 'nobody' }], { tenantId: 'acme' });
  await mill.jobs.schedule('nightly', { cron: '0 2 * * *' }, Mail, { to: 'all' });
  await eventually('all came to an end', async () => {
    const counts = (await mill.jobs.counts()).get('mails');
    return counts?.completed === 2 && counts.dead === 2;
  });
  await mill.stop();
});
after(() => rm(root, { recursive: true, force: true }));

async function run(args: readonly string[], { stdin = '', signal = never } = {}) {
  const out: string[] = [];
  const err: string[] = [];
  const plain = { isTTY: false, columns: 100 };
  const code = await runCli(args, {
    stdin: Readable.from([stdin]),
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

const never = new AbortController().signal;
const on = (command: string, ...more: readonly string[]) =>
  run([...command.split(' '), ...more, '--data', data]);

test('jobs are listed by filter, shown, and say why', async () => {
  const { json } = await on('jobs list --json --status dead');
  assert.equal(json.items.length, 2);
  const [dead] = json.items;
  assert.equal(dead.error.message, 'no such mailbox');
  const { out } = await on('jobs list --queue mails');
  assert.match(out, /mail\.send[\s\S]*no such mailbox[\s\S]*next.*jobs why /);
  assert.match((await on('jobs list --queue nowhere')).out, /There are no such jobs/);
  const page = await on('jobs list --json --limit 3');
  assert.equal(page.json.items.length, 3);
  assert.equal((await on('jobs list --json --after', page.json.next)).json.items.length, 1);

  const shown = await on('jobs show', dead.id);
  assert.match(shown.out, /"to": "nobody"[\s\S]*next/);
  assert.match(shown.out, /error +no such mailbox \[PERMANENT_FAILURE\]/);
  const why = await on('jobs why', dead.id);
  assert.match(why.out, /is dead\n {2}It failed for good at .*\n {4}millrace jobs retry \d+-\d+/);
  assert.equal((await on('jobs why --json', dead.id)).json.reasons[0].kind, 'dead');

  const missing = await on('jobs show 999999-1');
  assert.equal(missing.code, 1);
  assert.match(missing.err, /NOT_FOUND[\s\S]*next {2}millrace jobs list/);
  assert.match((await on('jobs show 17')).err, /REQUEST_INVALID/);
  assert.equal((await on('jobs show', dead.id, '--tenant', 'other')).code, 1);
});

test('a job is enqueued from an argument, a file and standard input, then changed', async () => {
  const added = await on(
    'jobs enqueue mail.send --queue outbox --json --delay 60000 --payload',
    '{"to":"cy"}',
  );
  assert.equal(added.code, 0);
  const { id } = added.json;
  const file = join(root, 'payload.json');
  await writeFile(file, '{"to":"dan"}');
  const other = await on(
    'jobs enqueue mail.send --queue outbox --priority -5 --payload',
    `@${file}`,
  );
  assert.match(other.out, /enqueued \d+-\d+[\s\S]*next {2}millrace jobs why/);
  const piped = ['jobs', 'enqueue', 'x', '--queue', 'outbox', '--payload', '-', '--data', data];
  assert.equal((await run(piped, { stdin: '{"to":"eve"}' })).code, 0);
  assert.equal((await on('jobs enqueue x --payload', '{"to":')).code, 1);
  assert.equal((await on('jobs enqueue x')).code, 2);

  assert.match((await on('jobs why', id)).out, /not to run before/);
  assert.match((await on('jobs run', id)).out, /is waiting[\s\S]*no server runs here/);
  assert.match((await on('jobs why', id)).out, /No worker listens to the queue outbox/);
  const late = await on('jobs run', id);
  assert.equal(late.code, 1);
  assert.match(late.err, /JOB_STATE[\s\S]*next {2}millrace jobs list/);
  const two = await on('jobs cancel --json', id, '999999-1');
  assert.equal(two.code, 1);
  assert.deepEqual(two.json.changed, [{ id, status: 'cancelled' }]);
  assert.match(two.err, /NOT_FOUND/);
  assert.match((await on('jobs remove', id)).out, /is removed/);
});

test('bulk counts first, then does it, and wants a filter', async () => {
  const dry = await on('jobs bulk retry --queue mails --dry-run');
  assert.match(dry.out, /2 would be changed[\s\S]*mail\.send[\s\S]*without --dry-run/);
  const none = await on('jobs bulk retry --queue mails --tenant somebody --json');
  assert.equal(none.json.matched, 0);
  const done = await on('jobs bulk retry --queue mails --tenant acme');
  assert.equal(done.code, 0);
  assert.match(done.out, /2 of 2 changed/);
  assert.match(done.err, /retry .*100%.*2 jobs of 2 jobs/);
  assert.equal((await on('jobs bulk retry --queue mails --json')).json.matched, 0);
  const all = await on('jobs bulk remove');
  assert.equal(all.code, 2);
  assert.match(all.err, /every job there is/);
  assert.equal((await on('jobs bulk forget --queue mails')).code, 2);
});

test('Ctrl-C stops a bulk operation: what was changed stays changed', async () => {
  const mill = await connect(undefined, { directory: join(data, 'postgres') });
  const payloads = Array.from({ length: 200 }, (_, n) => ({ to: `n${n}` }));
  const Note = defineJob<{ to: string }>('note', { queue: 'notes' });
  await mill.jobs.enqueueMany(Note, payloads);
  await mill.stop();
  const interrupt = new AbortController();
  setTimeout(() => interrupt.abort(), 3_000);
  const args = ['jobs', 'bulk', 'cancel', '--queue', 'notes', '--rate', '10', '--json'];
  const { code, json } = await run([...args, '--data', data], { signal: interrupt.signal });
  assert.equal(code, 130);
  assert.equal(json.status, 'stopped');
  assert.ok(json.done < 200, `${json.done}`);
  const { json: left } = await on('queues list --json');
  const { counts } = left.items.find(({ queue }: { queue: string }) => queue === 'notes');
  assert.deepEqual([counts.cancelled, counts.waiting], [json.done, 200 - json.done]);
});

test('queues are listed, paused, resumed and limited', async () => {
  const { out } = await on('queues list');
  assert.match(out, /mails[\s\S]*no worker listens to/);
  assert.match((await on('queues pause mails')).out, /mails is paused: 2 waiting, 0 running/);
  const [waiting] = (await on('jobs list --queue mails --status waiting --json')).json.items;
  assert.match((await on('jobs why', waiting.id)).out, /is paused since[\s\S]*queues resume mails/);
  assert.match((await on('queues resume mails')).out, /mails is open/);
  const limits = ['--concurrency', '5', '--rate', '10/1s', '--key-rate', '1/m'];
  const set = await on('queues limits mails --json', ...limits);
  assert.deepEqual(set.json.limits, { concurrency: 5, rate: { max: 10, perMs: 1_000 } });
  assert.deepEqual(set.json.keyLimits, { rate: { max: 1, perMs: 60_000 } });
  const less = await on('queues limits mails --rate none --key-rate none --length-max 100');
  assert.match(less.out, /5 at a time\n.*none\n.*100/);
  assert.match((await on('queues list')).out, /5 at a time; length 100/);
  assert.equal((await on('queues limits mails --rate fast')).code, 2);
  assert.equal((await on('queues limits mails --concurrency 0')).code, 2);
  const missing = await on('queues pause nowhere');
  assert.equal(missing.code, 1);
  assert.match(missing.err, /next {2}millrace queues list/);
});

const redis = process.env.REDIS_URL;
test('queues on Redis are asked by their URL', {
  skip: redis === undefined && 'REDIS_URL is not set',
}, async () => {
  const queue = `cli-${crypto.randomUUID()}`;
  const ask = (command: string, ...more: readonly string[]) =>
    run([...command.split(' '), ...more, '--json', '--url', redis ?? '']);
  const args = ['--queue', queue, '--payload', '{"to":"ann"}'];
  const { id } = (await ask('jobs enqueue mail.send', ...args)).json;
  assert.equal((await ask('jobs list --queue', queue)).json.items[0].id, id);
  assert.equal((await ask('jobs why', id)).json.reasons[0].kind, 'no-worker');
  assert.equal((await ask('jobs cancel', id)).json.changed[0].status, 'cancelled');
  assert.equal((await ask('queues pause', queue)).json.paused, true);
});

test('schedules are listed, previewed, paused and removed; workers are listed', async () => {
  assert.match((await on('schedules list')).out, /nightly[\s\S]*mail\.send/);
  assert.match((await on('schedules show nightly')).out, /"cron": "0 2 \* \* \*"[\s\S]*"to":"all"/);
  const { json } = await on('schedules next nightly --count 2 --json');
  assert.match(json.items.join(), /T02:00:00\.000Z,.*T02:00:00\.000Z$/);
  assert.match((await on('schedules pause nightly')).out, /nightly is paused/);
  assert.match((await on('schedules next nightly')).out, /paused: none of these/);
  assert.match((await on('schedules resume nightly')).out, /nightly is open, next at/);
  assert.match((await on('schedules remove nightly')).out, /is removed/);
  const gone = await on('schedules show nightly');
  assert.match(gone.err, /NOT_FOUND[\s\S]*next {2}millrace schedules list/);
  assert.match((await on('schedules list')).out, /There are no schedules/);
  assert.match((await on('workers list')).out, /No process works on jobs/);
  assert.deepEqual((await on('workers list --json')).json, { items: [] });
});
