/** Cases for steps that wait for events. */
import assert from 'node:assert/strict';
import { eventually } from '../../test/support/eventually.ts';
import { upTo } from './jobs.fixtures.conformance.ts';
import {
  commit,
  complete,
  link,
  load,
  newRun,
  runsWithJobs,
  start,
  startHeld,
  startHolder,
  type WorkflowCaseContext,
  type WorkflowCases,
  waiting,
} from './workflows.fixtures.conformance.ts';
import type { EventWait } from './workflows.ts';

type Given = { eventType?: string; key?: string; tenantId?: string; eventId?: string };

function newEvent({ queue, tenant }: WorkflowCaseContext, given: Given = {}) {
  return {
    eventId: crypto.randomUUID(),
    tenantId: tenant,
    eventType: `${queue}.paid`,
    key: 'order 1',
    payloadJson: '{"paid":true}',
    ...given,
  };
}

function wait({ queue }: WorkflowCaseContext, rest: Partial<EventWait> = {}): EventWait {
  return { eventType: `${queue}.paid`, eventKey: null, step: 0, ...rest };
}

async function startWaiting(
  context: WorkflowCaseContext,
  epoch: number,
  waits: readonly EventWait[],
  tenantId = context.tenant,
) {
  const run = await startHeld(context, epoch, { tenantId });
  await commit(context.store, epoch, [link(run, 1, { waits, rest: waiting(0) })]);
  return run;
}

export const eventCases: WorkflowCases = {
  'an event reaches who waits for its type and key, in its tenant': async (context) => {
    const { store, queue, tenant } = context;
    const epoch = await startHolder(context);
    const eventKey = 'order 1';
    const [any, same] = [
      await startWaiting(context, epoch, [wait(context)]),
      await startWaiting(context, epoch, [wait(context, { eventKey })]),
    ];
    const others = [
      await startWaiting(context, epoch, [wait(context, { eventKey: 'order 2' })]),
      await startWaiting(context, epoch, [wait(context, { eventType: `${queue}.other` })]),
      await startWaiting(context, epoch, [wait(context)], `${tenant}-other`),
    ];
    const event = newEvent(context);
    const answer = await store.workflows.deliverEvents([event], {});
    assert.deepEqual(answer, { delivered: 2, woken: [queue] });
    assert.deepEqual((await runsWithJobs(context)).sort(), [any.runId, same.runId].sort());
    for (const run of [any, same]) {
      const [message, ...more] = (await load(store, run)).messages;
      assert.deepEqual(more, []);
      assert.equal(message?.kind, 'event');
      assert.equal(message.name, event.eventType);
      assert.equal(message.payloadJson, event.payloadJson);
    }
    for (const run of others) assert.notEqual((await load(store, run)).rest, null);
    assert.deepEqual(await store.workflows.deliverEvents([], {}), { delivered: 0, woken: [] });
  },

  'an event is one message to a run, however many of its steps wait, however often it comes':
    async (context) => {
      const { store } = context;
      const epoch = await startHolder(context);
      const waits = [wait(context), wait(context, { step: 1, eventKey: 'order 1' })];
      const run = await startWaiting(context, epoch, waits);
      const [first, second] = [newEvent(context), newEvent(context)];
      const { delivered } = await store.workflows.deliverEvents([first, second, first], {});
      assert.equal(delivered, 2);
      assert.equal((await store.workflows.deliverEvents([second], {})).delivered, 0);
      assert.equal((await load(store, run)).messages.length, 2);
      assert.deepEqual(await runsWithJobs(context), [run.runId]);
    },

  'who has stopped waiting, or has ended, hears nothing': async (context) => {
    const { store } = context;
    const epoch = await startHolder(context);
    const run = await startHeld(context, epoch);
    const over = await startHeld(context, epoch);
    const other = wait(context, { step: 1, eventType: 'another' });
    await commit(store, epoch, [
      link(run, 1, { waits: [wait(context), other] }),
      link(over, 1, { waits: [wait(context)] }),
    ]);
    const links = [link(run, 2, { unwait: [0] }), link(over, 2, { end: complete })];
    await commit(store, epoch, links);
    assert.equal((await store.workflows.deliverEvents([newEvent(context)], {})).delivered, 0);
    const event = newEvent(context, { eventType: 'another' });
    assert.equal((await store.workflows.deliverEvents([event], {})).delivered, 1);
    const more = [link(run, 3, { unwait: [1], waits: [wait(context, { step: 2 })] })];
    await commit(store, epoch, more);
    assert.equal((await store.workflows.deliverEvents([newEvent(context)], {})).delivered, 1);
  },

  'events are delivered in the transaction that asks for it': async (context) => {
    const { store, transaction, tenant } = context;
    const epoch = await startHolder(context);
    const run = await startWaiting(context, epoch, [wait(context)]);
    const undone = transaction(async (tx) => {
      await store.workflows.deliverEvents([newEvent(context)], { tx });
      throw new Error('undone');
    });
    await assert.rejects(undone, /undone/);
    assert.notEqual((await load(store, run)).rest, null);
    await store.withTenant(tenant, async (tx) => {
      const { delivered } = await store.workflows.deliverEvents([newEvent(context)], { tx });
      assert.equal(delivered, 1);
    });
    assert.deepEqual(await runsWithJobs(context), [run.runId]);
    const foreign = newEvent(context, { tenantId: `${tenant}-other` });
    await assert.rejects(
      store.withTenant(tenant, (tx) => store.workflows.deliverEvents([foreign], { tx })),
    );
  },

  'an event for which a thousand runs wait reaches all of them, and wakes each once': async (
    context,
  ) => {
    const { store, tenant } = context;
    const epoch = await startHolder(context);
    const runs = upTo(1_100).map(() => newRun(context, { held: true }));
    await start(store, runs, { epoch });
    const waits = [wait(context)];
    for (let from = 0; from < runs.length; from += 275) {
      const links = runs
        .slice(from, from + 275)
        .map((run) => link(run, 1, { waits, rest: waiting(0) }));
      await commit(store, epoch, links);
    }
    const event = newEvent(context);
    await store.withTenant(tenant, async (tx) => {
      const { delivered } = await store.workflows.deliverEvents([event], { tx });
      assert.equal(delivered, 1_100);
    });
    await eventually('nothing is kept back', async () => {
      const { nextDueMs } = await store.workflows.wakeDue(1_000);
      return nextDueMs === null || nextDueMs > 50;
    });
    assert.equal((await store.workflows.deliverEvents([event], {})).delivered, 0);
    const woken = await runsWithJobs(context);
    assert.deepEqual(woken.sort(), runs.map(({ runId }) => runId).sort());
  },
};
