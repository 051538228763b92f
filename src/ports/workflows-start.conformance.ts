/** Cases for starting runs: each exists once, and is held or has a job. */
import assert from 'node:assert/strict';
import { eventually } from '../../test/support/eventually.ts';
import { claimOne, code, countsOf, startWorker, upTo } from './jobs.fixtures.conformance.ts';
import {
  load,
  newId,
  newRun,
  runsWithJobs,
  start,
  startHolder,
  type WorkflowCases,
} from './workflows.fixtures.conformance.ts';

export const startCases: WorkflowCases = {
  'a run that is not held gets a job of its queue, and reads as it was given': async (context) => {
    const { store, queue, tenant } = context;
    const error = 'it is \\ "quoted" \u0000 🗝';
    const parent = { runId: newId(), step: 3 };
    const run = newRun(context, {
      identity: 'an order',
      key: 'a key',
      priority: -7,
      traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
      parent,
      inputJson: JSON.stringify({ error }),
      metadataJson: '{"tags":["a"]}',
      templateHash: 'abc',
    });
    const before = Date.now();
    const { results, woken } = await store.workflows.start([run], { epoch: null, again: false });
    assert.deepEqual(results, [{ runId: run.runId, duplicate: false }]);
    assert.deepEqual(woken, [queue]);
    const { info, ...rest } = await load(store, run);
    const { held, delayMs, ...given } = run;
    const { startedAt, ...said } = info;
    assert.deepEqual(said, given);
    assert.ok(Math.abs(startedAt - before) < 60_000, String(startedAt));
    assert.deepEqual(rest, { changes: [], messages: [], end: null, rest: null });
    const job = await claimOne(await startWorker(store.jobs, queue));
    const { tenantId, key, priority, name, version, payloadJson } = job;
    assert.deepEqual(JSON.parse(payloadJson), { runId: run.runId });
    assert.deepEqual(
      { tenantId, key, priority, name, version },
      { tenantId: tenant, key: 'a key', priority: -7, name: run.jobName, version: 1 },
    );
  },

  'a run that is held gets none': async (context) => {
    const { store } = context;
    const epoch = await startHolder(context);
    const runs = [newRun(context, { held: true }), newRun(context)];
    assert.equal((await start(store, runs, { epoch })).length, 2);
    assert.deepEqual(await runsWithJobs(context), [runs[1]?.runId]);
  },

  'its job may become due later': async (context) => {
    const { store, queue } = context;
    const run = newRun(context, { delayMs: 300 });
    await start(store, [run]);
    assert.deepEqual(await countsOf(store.jobs, queue), { delayed: 1 });
    const worker = await startWorker(store.jobs, queue);
    assert.match((await claimOne(worker)).payloadJson, new RegExp(run.runId));
  },

  'who is dead starts nothing that it would hold': async (context) => {
    const { store } = context;
    const epoch = await startHolder(context);
    await store.jobs.retire(epoch);
    const run = newRun(context, { held: true });
    await assert.rejects(start(store, [run, newRun(context)], { epoch }), code('LEASE_LOST'));
    assert.equal(await store.workflows.load(run.runId), null);
    assert.deepEqual(await runsWithJobs(context), []);
    await assert.rejects(start(store, [run]), code('REQUEST_INVALID'));
  },

  'an identity is taken once, ended or not, by whoever comes first': async (context) => {
    const { store, another } = context;
    const stores = [store, await another()];
    const identities = upTo(8).map((n) => `identity ${n}`);
    const calls = upTo(10).map((n) => {
      // Each in an order of its own, so that they would wait for each other in a circle.
      const turned = identities.map((_, i) => identities[(i * 3 + n) % 8] as string);
      const runs = turned.map((identity) => newRun(context, { identity }));
      return { runs, results: start(stores[n % 2] as typeof store, runs) };
    });
    const winners = new Map<string, string>();
    let duplicates = 0;
    for (const { runs, results } of calls) {
      for (const [i, { runId, duplicate }] of (await results).entries()) {
        const { identity } = runs[i] as { identity: string };
        assert.equal(duplicate, runId !== runs[i]?.runId);
        if (duplicate) duplicates += 1;
        const known = winners.get(identity) ?? runId;
        assert.equal(runId, known, identity);
        winners.set(identity, known);
      }
    }
    assert.equal(duplicates, 72);
    assert.deepEqual((await runsWithJobs(context)).sort(), [...winners.values()].sort());
  },

  'an identity counts for a tenant, namespace and name': async (context) => {
    const { store, tenant } = context;
    const identity = 'the same';
    const runs = [
      newRun(context, { identity }),
      newRun(context, { identity, tenantId: `${tenant}-other` }),
      newRun(context, { identity, namespace: 'elsewhere' }),
      newRun(context, { identity, name: 'another' }),
      newRun(context, { identity }),
    ];
    const results = await start(store, runs);
    assert.deepEqual(
      results.map(({ duplicate }) => duplicate),
      [false, false, false, false, true],
    );
    assert.equal(results[4]?.runId, runs[0]?.runId);
  },

  'a start whose answer was lost is repeated without harm': async (context) => {
    const { store } = context;
    const taken = newRun(context, { identity: 'taken' });
    await start(store, [taken]);
    const runs = [newRun(context), newRun(context, { identity: 'mine' })];
    await start(store, runs);
    const [third, other] = [newRun(context), newRun(context, { identity: 'taken' })];
    const again = await start(store, [...runs, third, other], { again: true });
    assert.deepEqual(again, [
      ...[...runs, third].map(({ runId }) => ({ runId, duplicate: false })),
      { runId: taken.runId, duplicate: true },
    ]);
    const unknown = await start(store, runs);
    assert.deepEqual(
      unknown,
      runs.map(({ runId }) => ({ runId, duplicate: true })),
    );
    const expected = [taken, ...runs, third].map(({ runId }) => runId);
    assert.deepEqual((await runsWithJobs(context)).sort(), expected.sort());
  },

  '10,000 runs are started by one call, in their order': async (context) => {
    const { store, queue } = context;
    const runs = upTo(10_000).map(() => newRun(context));
    const results = await start(store, runs);
    assert.equal(results.filter(({ duplicate }) => !duplicate).length, 10_000);
    assert.deepEqual(await countsOf(store.jobs, queue), { waiting: 10_000 });
    const worker = await startWorker(store.jobs, queue);
    const claimed = await eventually('there are jobs', async () => {
      const jobs = await worker.claim(100);
      return jobs.length > 0 && jobs;
    });
    assert.deepEqual(
      claimed.map(({ payloadJson }) => (JSON.parse(payloadJson) as { runId: string }).runId),
      runs.slice(0, 100).map(({ runId }) => runId),
    );
  },

  'a queue that is full refuses runs, all of the call': async (context) => {
    const { store, queue } = context;
    await store.jobs.configure([{ queue, lengthMax: 2 }]);
    await start(store, [newRun(context)]);
    const more = [newRun(context), newRun(context)];
    await assert.rejects(start(store, more), code('BACKPRESSURE'));
    await start(store, more.slice(1));
    assert.equal(await store.workflows.load(more[0]?.runId ?? ''), null);
  },

  'templates are kept as they were first saved': async ({ store, queue }) => {
    const hash = `hash-${queue}`;
    const template = { hash, namespace: 'n', name: 't', version: '1', definitionJson: '{"a": 1}' };
    await store.workflows.saveTemplates([template]);
    await store.workflows.saveTemplates([{ ...template, definitionJson: '{}' }]);
    await store.workflows.saveTemplates([]);
    assert.deepEqual(await store.workflows.template(hash), template);
    assert.equal(await store.workflows.template(`${hash}-other`), null);
  },
};
