/** Dead letters end to end: how events get there, what is seen of them, and every way out. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import { ask, names, openMill, quickRetry } from '../../test/support/mill.ts';
import { permanentFailure } from '../core/errors.ts';
import type { DeadLetter } from '../ports/failures.ts';
import { DeadLettered, RetryScheduled } from './control.ts';

let database: TestDatabase;
before(async () => {
  database = await freshDatabase();
});
after(() => database.drop());

const numbers = (count: number) => Array.from({ length: count }, (_, n) => n);
const code = (wanted: string) => (error: unknown) => (error as { code?: string }).code === wanted;

/** A group whose handler fails for good on n = 0 until `mended`; every key has three events. */
async function clinic(t: Parameters<typeof openMill>[0], keys: readonly string[] = ['k']) {
  const own = names();
  const { group, tenant, Thing } = own;
  const mill = await openMill(t, database.url);
  const state = { mended: false };
  const seen: string[] = [];
  mill.subscribe({
    group,
    events: [Thing],
    handle({ key, payload }) {
      if (payload.n === 0 && !state.mended) throw permanentFailure(`no account '${key}'`);
      seen.push(`${key}:${payload.n}`);
    },
  });
  await mill.start();
  for (const n of numbers(3)) {
    await mill.publishMany(keys.map((key) => [Thing, { tenantId: tenant, key, payload: { n } }]));
  }
  const letters = () => mill.deadLetters.list({ tenantId: tenant, group });
  await eventually('each key has a dead letter, and two events behind it', async () => {
    const found = await letters();
    return found.length === keys.length && found.every(({ waiting }) => waiting === 2);
  });
  const letter = ((await letters())[0] ?? null) as DeadLetter;
  const status = async () => (await mill.deadLetters.show(letter)).status;
  return { ...own, mill, state, seen, letters, letter, status };
}

describe('the ways out of a dead letter', () => {
  it('retry: it is handled, and what waited follows', async (t) => {
    const { mill, state, seen, letter, status } = await clinic(t);
    state.mended = true;
    await mill.deadLetters.retry(letter);
    await eventually('all are handled', () => seen.length === 3);
    assert.deepEqual(seen, ['k:0', 'k:1', 'k:2']);
    await eventually('the letter says so', async () => (await status()) === 'succeeded');
    await assert.rejects(mill.deadLetters.retry(letter), code('DEAD_LETTER_STATE'));
  });

  it('retry that fails again is dead again', async (t) => {
    const { mill, seen, letter, letters } = await clinic(t);
    const before = letter.failedAt;
    await mill.deadLetters.retry(letter);
    await eventually('it is dead again', async () => {
      const [again] = await letters();
      return again?.status === 'pending' && again.failedAt > before;
    });
    assert.deepEqual(seen, []);
  });

  it('edit and retry: the handler gets the new payload, checked by the schema', async (t) => {
    const { mill, seen, letter, tenant } = await clinic(t);
    const wrong = mill.deadLetters.editAndRetry(letter, { n: 'zero' });
    await assert.rejects(wrong, code('EVENT_INVALID'));
    await mill.deadLetters.editAndRetry(letter, { n: 7 });
    await eventually('all are handled', () => seen.length === 3);
    assert.deepEqual(seen, ['k:7', 'k:1', 'k:2']);
    const original = await mill.history.find(tenant, letter.eventId);
    assert.deepEqual(original?.payload, { n: 0 });
  });

  it('skip: what waited goes on without it', async (t) => {
    const { mill, seen, letter, status, tenant, Thing } = await clinic(t);
    await mill.deadLetters.skip(letter);
    await eventually('the others are handled', () => seen.length === 2);
    assert.equal(await status(), 'skipped');
    await mill.publish(Thing, { tenantId: tenant, key: 'k', payload: { n: 3 } });
    await eventually('so is what comes later', () => seen.length === 3);
    assert.deepEqual(seen, ['k:1', 'k:2', 'k:3']);
  });

  it('discard: the waiting ones go with it, later ones do not', async (t) => {
    const { mill, seen, letter, letters, tenant, Thing } = await clinic(t);
    assert.equal(await mill.deadLetters.discard(letter), 3);
    assert.equal((await letters()).filter(({ status }) => status === 'discarded').length, 3);
    await mill.publish(Thing, { tenantId: tenant, key: 'k', payload: { n: 3 } });
    await eventually('a later event is handled', () => seen.length === 1);
    assert.deepEqual(seen, ['k:3']);
  });

  it('bulk by fingerprint: first a dry run, then all of a kind', async (t) => {
    const keys = numbers(8).map((n) => `account-${n}`);
    const { mill, state, seen, tenant, group } = await clinic(t, keys);
    const [kind, ...others] = await mill.deadLetters.fingerprints(tenant);
    assert.deepEqual(others, [], 'the accounts differ, the kind of failure does not');
    assert.equal(kind?.count, 8);
    const request = {
      tenantId: tenant,
      fingerprint: kind?.fingerprint ?? '',
      verb: 'retry',
    } as const;
    const dry = await mill.deadLetters.bulk({ ...request, dryRun: true });
    assert.deepEqual([dry.matched, dry.changed, dry.examples.length], [8, 0, 3]);
    state.mended = true;
    const done = await mill.deadLetters.bulk({ ...request, ratePerSecond: 1_000 });
    assert.deepEqual([done.matched, done.changed, done.passedOver], [8, 8, 0]);
    await eventually('all are handled', () => seen.length === 24);
    const counts = await eventually('nothing is pending', async () => {
      const found = await mill.deadLetters.counts(tenant);
      return found.every(({ status }) => status === 'succeeded') && found;
    });
    assert.deepEqual(counts, [{ group, status: 'succeeded', count: 8 }]);
  });
});

describe('what is seen of failures', () => {
  it('control events tell of each retry and of the end', async (t) => {
    const { group, tenant, Thing } = names();
    const mill = await openMill(t, database.url);
    const told: unknown[] = [];
    mill.subscribe({
      group,
      events: [Thing],
      retry: { ...quickRetry, maxRetries: 2 },
      handle() {
        throw Object.assign(new Error('order 17 is locked'), { code: 'LOCKED' });
      },
    });
    mill.subscribe({
      group: `${group}-control`,
      events: [RetryScheduled, DeadLettered],
      handle({ eventType, tenantId, key, causationId, payload }) {
        if (tenantId === tenant) told.push([eventType, key, causationId, payload]);
      },
    });
    await mill.start();
    const { eventId } = await mill.publish(Thing, {
      tenantId: tenant,
      key: 'k',
      payload: { n: 0 },
    });
    await eventually('three are told', () => told.length === 3);
    const types = (told as [string, string, string, { attempt?: number }][]).map(
      ([type, key, cause, { attempt }]) => [type, key, cause === eventId, attempt],
    );
    assert.deepEqual(types, [
      ['RetryScheduled', 'k', true, 1],
      ['RetryScheduled', 'k', true, 2],
      ['DeadLettered', 'k', true, undefined],
    ]);
    const [, , , about] = told[2] as [string, string, string, object];
    assert.deepEqual(about, {
      eventId,
      eventType: Thing.type,
      group,
      reason: 'order 17 is locked',
      errorCode: 'LOCKED',
      retryCount: 2,
      fingerprint: `${group}/${Thing.type}/LOCKED: order <n> is locked`,
    });
  });

  it('a failing subscriber of control events does not feed itself', async (t) => {
    const { group, tenant, Thing } = names();
    const mill = await openMill(t, database.url);
    mill.subscribe({
      group,
      events: [Thing],
      handle() {
        throw permanentFailure('no');
      },
    });
    mill.subscribe({
      group: `${group}-control`,
      events: [DeadLettered],
      from: 'end',
      handle({ tenantId }) {
        if (tenantId === tenant) throw permanentFailure('neither');
      },
    });
    await mill.start();
    await mill.publish(Thing, { tenantId: tenant, key: 'k', payload: { n: 0 } });
    await eventually(
      'both are dead',
      async () => (await mill.deadLetters.list({ tenantId: tenant })).length === 2,
    );
    const told = await mill.history.list({ tenantId: tenant, eventTypes: ['DeadLettered'] });
    assert.equal(told.events.length, 1);
  });

  it('the views of P9-12 and P9-15 show the truth', async (t) => {
    const { mill, state, letter, tenant, group } = await clinic(t);
    const processing = () =>
      ask<Record<string, unknown>>(
        database.url,
        `select event_id, worker_type, tenant_id, exception_id, processed_at, status, retry_count
         from millrace.event_processing p join millrace.event e using (event_id, tenant_id)
         where worker_type = $1 order by e."offset"`,
        [group],
      );
    const statuses = async () => (await processing()).map(({ status }) => status);
    assert.deepEqual(await statuses(), ['failed', 'retrying', 'retrying']);
    const [row] = await ask<Record<string, unknown>>(
      database.url,
      `select event_id, event_type, tenant_id, exception_id, original_topic, failure_reason,
         retry_count, failed_at, payload, metadata, status
       from millrace.dead_letter_events where worker_type = $1`,
      [group],
    );
    const { failed_at: failedAt, ...rest } = row as Record<string, unknown>;
    assert.ok(failedAt instanceof Date);
    assert.deepEqual(rest, {
      event_id: letter.eventId,
      event_type: letter.eventType,
      tenant_id: tenant,
      exception_id: 'k',
      original_topic: `events/${letter.partition}`,
      failure_reason: `no account 'k'`,
      retry_count: 0,
      payload: { n: 0 },
      metadata: null,
      status: 'pending',
    });
    state.mended = true;
    await mill.deadLetters.retry(letter);
    await eventually('all are completed', async () =>
      (await statuses()).every((status) => status === 'completed'),
    );
    for (const { processed_at: at } of await processing()) assert.ok(at instanceof Date);
  });

  it('a process at rest with a dead letter leaves the database alone', async (t) => {
    const { mill } = await clinic(t);
    const { failures } = mill.store;
    let asked = 0;
    const due = failures.due.bind(failures);
    t.mock.method(failures, 'due', (...args: Parameters<typeof due>) => {
      asked += 1;
      return due(...args);
    });
    const started = performance.now();
    await eventually('the stream looks again', () => asked >= 1, 3_000);
    await eventually('half a second passes', () => performance.now() - started > 500);
    assert.ok(asked <= 3, `asked ${asked} times in half a second`);
  });
});
