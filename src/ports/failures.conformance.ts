/** Cases for failures: order behind a failed event, due retries, dead letters and their verbs. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '../../test/support/random.ts';
import type { StoredEvent } from '../core/event.ts';
import type { DeadLetter, DeadLetterVerb, FailureRecord } from './failures.ts';
import {
  appended,
  type CaseContext,
  type Cases,
  claimed,
  failure,
  numbered,
  settlement,
} from './fixtures.conformance.ts';
import type { KeyRef } from './streams.ts';

const limits = { keys: 64, perKey: 64 };
const code = (wanted: string) => (error: unknown) => (error as { code?: string }).code === wanted;

/** Settles failures and resolved retries, counting the links by itself. */
function settler(context: CaseContext, at: { group: string; partition: number }) {
  let seq = 0;
  return (failures: readonly FailureRecord[], resolved: readonly number[] = []) => {
    seq += 1;
    return context.store.streams.settle(settlement(at, { seq, position: seq, failures, resolved }));
  };
}

/** A key with events, of which the first is dead and the others wait. */
async function deadLane(context: CaseContext, count = 3) {
  const { at, events } = await claimed(context, { count });
  const settle = settler(context, at);
  await settle(events.map((event, i) => failure(event, i === 0 ? 'dead' : 'parked')));
  const ref = (i: number) => {
    const { tenantId, eventId } = events[i] as StoredEvent;
    return { tenantId, group: at.group, eventId };
  };
  const apply = (i: number, verb: DeadLetterVerb) => context.store.failures.apply(ref(i), verb);
  return { at, events, settle, ref, apply };
}

async function dueOffsets({ store }: CaseContext, at: { group: string; partition: number }) {
  return (await store.failures.due(at, limits)).map(({ event }) => event.offset);
}

const offsets = (events: readonly StoredEvent[]) => events.map(({ offset }) => offset);
const blockedKey = (tenantId: string, key: string): KeyRef => ({ tenantId, key });

export const failureCases: Cases = {
  'a failed event is due with what waits behind it, in order': async (context) => {
    const { at, events } = await claimed(context, { count: 4 });
    const settle = settler(context, at);
    const result = await settle(
      events.map((event, i) => failure(event, i === 0 ? 'retrying' : 'parked')),
    );
    assert.deepEqual(result.keys, [{ ...blockedKey(context.tenant, 'k'), blocked: true }]);
    const cursor = await context.store.streams.openCursor(at);
    assert.deepEqual(cursor.blocked, [blockedKey(context.tenant, 'k')]);
    const due = await context.store.failures.due(at, limits);
    assert.deepEqual(
      due.map(({ event }) => event),
      events,
    );
    assert.deepEqual(
      due.map(({ attempts }) => attempts),
      [1, 0, 0, 0],
    );
    assert.deepEqual(
      offsets(
        (await context.store.failures.due(at, { keys: 1, perKey: 2 })).map(({ event }) => event),
      ),
      offsets(events.slice(0, 2)),
    );
  },

  'a retry of the future is not due, and says when': async (context) => {
    const { at, events } = await claimed(context, { count: 1 });
    assert.equal(await context.store.failures.nextDueMs(at), null);
    await settler(
      context,
      at,
    )([failure(events[0] as StoredEvent, 'retrying', { delayMs: 60_000 })]);
    assert.deepEqual(await dueOffsets(context, at), []);
    const ms = (await context.store.failures.nextDueMs(at)) as number;
    assert.ok(ms > 50_000 && ms <= 60_000, `${ms} ms`);
  },

  'what waits is promoted when the first is resolved': async (context) => {
    const { at, events } = await claimed(context, { count: 3 });
    const settle = settler(context, at);
    const [one, two, three] = offsets(events) as [number, number, number];
    await settle(events.map((event, i) => failure(event, i === 0 ? 'retrying' : 'parked')));
    assert.equal((await settle([], [one])).keys[0]?.blocked, true);
    assert.deepEqual(await dueOffsets(context, at), [two, three]);
    // Resolved with a newly parked one in the same settlement: that one is next.
    const [four] = await appended(context.store, numbered(context.store, context.tenant, 'k', 1));
    const result = await settle([failure(four as StoredEvent, 'parked')], [two, three]);
    assert.equal(result.keys[0]?.blocked, true);
    assert.deepEqual(await dueOffsets(context, at), offsets([four as StoredEvent]));
    const last = await settle([], [four?.offset as number]);
    assert.deepEqual(last.keys, [{ ...blockedKey(context.tenant, 'k'), blocked: false }]);
    assert.deepEqual((await context.store.streams.openCursor(at)).blocked, []);
  },

  'a dead letter holds its key up, and other keys are free': async (context) => {
    const { at, settle } = await deadLane(context);
    const { store, tenant, group } = context;
    const other = Array.from({ length: 50 }, (_, i) => `free${i}`);
    const found = (
      await appended(
        store,
        other.flatMap((key) => numbered(store, tenant, key, 1)),
      )
    ).find(({ partition }) => partition === at.partition) as StoredEvent;
    await settle([failure(found, 'retrying')]);
    assert.deepEqual(await dueOffsets(context, at), [found.offset]);
    const [letter] = await store.failures.list({ tenantId: tenant, group });
    assert.equal(letter?.waiting, 2);
  },

  'nothing beyond a dead letter is due': async (context) => {
    const { at, events } = await claimed(context, { count: 4 });
    const statuses = ['retrying', 'parked', 'dead', 'parked'] as const;
    await settler(context, at)(events.map((event, i) => failure(event, statuses[i] ?? 'dead')));
    assert.deepEqual(await dueOffsets(context, at), offsets(events.slice(0, 2)));
  },

  'a key with two retries is due from its first event only, each event once': async (context) => {
    const { at, events } = await claimed(context, { count: 3 });
    const [one, two, three] = events as [StoredEvent, StoredEvent, StoredEvent];
    const settle = settler(context, at);
    await settle([
      failure(one, 'retrying', { delayMs: 60_000 }),
      failure(two, 'retrying'),
      failure(three, 'parked'),
    ]);
    assert.deepEqual(await dueOffsets(context, at), [], 'the first is not due yet');
    await settle([failure(one, 'retrying', { attempts: 2 })]);
    assert.deepEqual(await dueOffsets(context, at), offsets(events));
  },

  'retry runs the letter again, then what waited': async (context) => {
    const { at, events, settle, apply } = await deadLane(context);
    const { changed, partition } = await apply(0, { verb: 'retry' });
    assert.deepEqual({ changed, partition }, { changed: 1, partition: at.partition });
    assert.deepEqual(await dueOffsets(context, at), offsets(events));
    const due = await context.store.failures.due(at, limits);
    assert.equal(due[0]?.attempts, 0, 'the policy starts anew');
    await settle([], offsets(events));
    const [letter] = await context.store.failures.list({ tenantId: context.tenant });
    assert.equal(letter?.status, 'succeeded', 'the letter stays known');
  },

  'retry with a payload gives the handler that payload': async (context) => {
    const { at, events, apply, ref } = await deadLane(context, 1);
    await apply(0, { verb: 'retry', payload: { n: 'edited' } });
    const [due] = await context.store.failures.due(at, limits);
    assert.deepEqual(due?.event.payload, { n: 'edited' });
    const letter = await context.store.failures.find(ref(0));
    assert.equal(letter?.edited, true);
    assert.deepEqual(letter?.payload, { n: 'edited' });
    const { tenantId, eventId } = events[0] as StoredEvent;
    const original = await context.store.history.find(tenantId, eventId);
    assert.deepEqual(original?.payload, { n: 0 }, 'the log keeps what was published');
  },

  'skip passes over one event': async (context) => {
    const { at, events, apply, ref } = await deadLane(context);
    await apply(0, { verb: 'skip' });
    assert.deepEqual(await dueOffsets(context, at), offsets(events.slice(1)));
    assert.equal((await context.store.failures.find(ref(0)))?.status, 'skipped');
  },

  'discard gives up the whole key': async (context) => {
    const { at, apply } = await deadLane(context);
    assert.equal((await apply(0, { verb: 'discard' })).changed, 3);
    assert.deepEqual(await dueOffsets(context, at), []);
    assert.deepEqual((await context.store.streams.openCursor(at)).blocked, []);
    const letters = await context.store.failures.list({ tenantId: context.tenant });
    assert.deepEqual(
      letters.map(({ status }) => status),
      Array(3).fill('discarded'),
    );
  },

  'retry-key runs all of a key again': async (context) => {
    const { at, events } = await claimed(context, { count: 3 });
    const { tenantId, eventId } = events[0] as StoredEvent;
    await settler(
      context,
      at,
    )(events.map((event, i) => failure(event, i === 1 ? 'parked' : 'dead')));
    const ref = { tenantId, eventId, group: at.group };
    await context.store.failures.apply(ref, { verb: 'retry-key' });
    assert.deepEqual(await dueOffsets(context, at), offsets(events));
  },

  'a verb on what is not pending, or not there, is refused': async (context) => {
    const { apply, ref } = await deadLane(context, 1);
    await apply(0, { verb: 'skip' });
    for (const verb of ['retry', 'retry-key', 'skip', 'discard'] as const) {
      await assert.rejects(apply(0, { verb }), code('DEAD_LETTER_STATE'), verb);
      const unknown = { ...ref(0), eventId: crypto.randomUUID() };
      await assert.rejects(context.store.failures.apply(unknown, { verb }), code('NOT_FOUND'));
      const foreign = { ...ref(0), tenantId: 'somebody else' };
      await assert.rejects(context.store.failures.apply(foreign, { verb }), code('NOT_FOUND'));
    }
  },

  'of two operators one is told that he was late': async (context) => {
    const { apply } = await deadLane(context, 1);
    const tries = [apply(0, { verb: 'retry' }), apply(0, { verb: 'skip' })];
    const outcomes = await Promise.allSettled(tries);
    assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
    const late = outcomes.find((outcome) => outcome.status === 'rejected');
    assert.ok(code('DEAD_LETTER_STATE')(late?.reason), String(late?.reason));
  },

  'a letter has the columns of P9-15': async (context) => {
    const { at, events } = await claimed(context, { count: 1 });
    const record = failure(events[0] as StoredEvent, 'dead', {
      attempts: 4,
      reason: 'no such account: \'42\' "x" \\ 🗝',
      detail: 'stack',
    });
    await settler(context, at)([record]);
    const [letter] = (await context.store.failures.list({ tenantId: context.tenant })) as [
      DeadLetter,
    ];
    const { failedAt, ...rest } = letter;
    assert.ok(Math.abs(Date.parse(failedAt) - Date.now()) < 60_000);
    const { eventId, eventType, tenantId, partition, offset } = events[0] as StoredEvent;
    assert.deepEqual(rest, {
      eventId,
      eventType,
      tenantId,
      exceptionId: 'k',
      originalTopic: `events/${partition}`,
      failureReason: record.reason,
      retryCount: 3,
      payload: { n: 0 },
      metadata: {},
      group: at.group,
      partition,
      offset,
      status: 'pending',
      errorCode: 'BROKEN',
      fingerprint: 'broken',
      detail: 'stack',
      edited: false,
      waiting: 0,
    });
  },

  'pages of letters are complete and without duplicates': async (context) => {
    const { store, tenant, t } = context;
    const random = seededRandom(t);
    const { at } = await claimed(context, { key: 'key0' });
    const keys = Array.from({ length: 400 }, (_, i) => `key${i}`);
    const all = await appended(
      store,
      keys.flatMap((key) => numbered(store, tenant, key, 1)),
    );
    const mine = all.filter(({ partition }) => partition === at.partition);
    await settler(context, at)(mine.map((event) => failure(event, 'dead')));
    // Another group fails on the same events at the same moment.
    const second = { ...at, group: `${at.group}-b` };
    await store.streams.takeLease({ ...second, seenEpoch: 0, workerId: crypto.randomUUID() });
    await settler(context, second)(mine.map((event) => failure(event, 'dead')));
    const seen: string[] = [];
    for (let after: DeadLetter | undefined; ; ) {
      const limit = 1 + random.below(9);
      const page = await store.failures.list({ tenantId: tenant, limit, ...(after && { after }) });
      seen.push(...page.map(({ group, eventId }) => `${group} ${eventId}`));
      if (page.length < limit) break;
      after = page.at(-1);
    }
    assert.equal(new Set(seen).size, seen.length, 'no letter twice');
    assert.equal(seen.length, mine.length * 2, 'no letter missing');
  },

  'letters are filtered by each of the filters': async (context) => {
    const { store, tenant } = context;
    const { at, events } = await deadLane(context, 2);
    const [dead] = events as [StoredEvent];
    const count = async (filter: object) =>
      (await store.failures.list({ tenantId: tenant, ...filter })).length;
    assert.equal(await count({}), 1);
    assert.equal(await count({ group: at.group, eventType: dead.eventType, exceptionId: 'k' }), 1);
    assert.equal(await count({ fingerprint: 'broken', status: 'pending' }), 1);
    for (const filter of [
      { group: 'x' },
      { eventType: 'x' },
      { exceptionId: 'x' },
      { fingerprint: 'x' },
      { status: 'skipped' },
      { tenantId: 'x' },
    ]) {
      assert.equal(await count(filter), 0, JSON.stringify(filter));
    }
  },

  'fingerprints and counts sum up, per tenant': async (context) => {
    const { store, tenant } = context;
    const { at, events } = await deadLane(context, 3);
    assert.deepEqual(await store.failures.fingerprints(tenant), [
      {
        fingerprint: 'broken',
        group: at.group,
        eventType: events[0]?.eventType,
        count: 1,
        reason: 'it broke',
        exampleEventId: events[0]?.eventId,
      },
    ]);
    assert.deepEqual(await store.failures.counts(tenant), [
      { group: at.group, status: 'parked', count: 2 },
      { group: at.group, status: 'pending', count: 1 },
    ]);
    assert.deepEqual(await store.failures.fingerprints(`${tenant}-b`), []);
    assert.deepEqual(await store.failures.counts(`${tenant}-b`), []);
  },

  'old letters expire, and what waits behind one goes on': async (context) => {
    const { at, settle, ref } = await deadLane(context);
    const { failures } = context.store;
    const request = { groups: [at.group], olderThanMs: 60_000, limit: 10 };
    assert.deepEqual(await failures.expire(request), { removed: 0, partitions: [] });
    assert.deepEqual(await failures.expire({ ...request, groups: ['another'], olderThanMs: 0 }), {
      removed: 0,
      partitions: [],
    });
    await sleep(2); // a letter is older than 0 ms when its millisecond is over
    const expired = await failures.expire({ ...request, olderThanMs: 0 });
    assert.deepEqual(expired, { removed: 1, partitions: [at] });
    assert.equal(await failures.find(ref(0)), null);
    const due = await failures.due(at, limits);
    assert.equal(due.length, 2, 'the other two of its key are due, in order');
    await settle([], offsets(due.map(({ event }) => event)));
    assert.deepEqual((await context.store.streams.openCursor(at)).blocked, []);
    assert.equal((await failures.expire({ ...request, olderThanMs: 0 })).removed, 0);
  },

  'letters that were dealt with expire as well, those under way do not': async (context) => {
    const { at, apply, ref } = await deadLane(context, 1);
    const other = await deadLane({ ...context, group: `${context.group}-2` }, 1);
    await apply(0, { verb: 'discard' });
    await other.apply(0, { verb: 'retry' });
    await sleep(2);
    const groups = [at.group, other.at.group];
    const { failures } = context.store;
    const expired = await failures.expire({ groups, olderThanMs: 0, limit: 10 });
    assert.deepEqual(expired, { removed: 1, partitions: [at] });
    assert.equal(await failures.find(ref(0)), null);
    assert.equal((await failures.find(other.ref(0)))?.status, 'retrying');
  },

  'no more letters expire at once than asked for': async (context) => {
    const { at, events } = await claimed(context, { count: 5 });
    const settle = settler(context, at);
    await settle(events.map((event) => failure(event, 'dead')));
    await sleep(2);
    const { failures } = context.store;
    const removed: number[] = [];
    for (let n = 0; n < 4; n += 1) {
      const request = { groups: [at.group], olderThanMs: 0, limit: 2 };
      removed.push((await failures.expire(request)).removed);
    }
    assert.deepEqual(removed, [2, 2, 1, 0]);
  },

  'letters are listed by a pattern of types': async (context) => {
    const { at } = await deadLane(context, 2);
    const list = async (eventType: string) =>
      (await context.store.failures.list({ tenantId: context.tenant, group: at.group, eventType }))
        .length;
    assert.equal(await list('conformance.*'), 1);
    assert.equal(await list('conformance.Thing'), 1);
    assert.equal(await list('conformance_Thing'), 0);
    assert.equal(await list('other.*'), 0);
  },
};
