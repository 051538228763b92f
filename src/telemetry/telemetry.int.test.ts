/** A run, a job and an event on the embedded Postgres, seen from a collector and by Prometheus. */
import assert from 'node:assert/strict';
import * as http from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type TestContext } from 'node:test';
import { z } from 'zod';
import { freshDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import { openMill } from '../../test/support/mill.ts';
import { defineEvent } from '../core/event.ts';
import { defineJob } from '../core/job-definition.ts';
import { healthRoutes } from '../http/health-routes.ts';
import { createHttpServer } from '../http/server.ts';
import { defineTask } from '../workflows/dag/define-task.ts';

interface SpanJson {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly events?: readonly { readonly name: string }[];
}

/** A collector of OTLP over HTTP, as far as a test needs one. */
async function startCollector(t: TestContext) {
  const spans: SpanJson[] = [];
  const metrics = new Set<string>();
  const tokens = new Set<string | undefined>();
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = [];
    tokens.add(request.headers.authorization);
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString());
      for (const resource of body.resourceSpans ?? []) {
        for (const scope of resource.scopeSpans) spans.push(...scope.spans);
      }
      for (const resource of body.resourceMetrics ?? []) {
        for (const scope of resource.scopeMetrics) {
          for (const { name } of scope.metrics) metrics.add(name);
        }
      }
      response.setHeader('content-type', 'application/json').end('{}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => new Promise((resolve) => server.close(resolve)));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, spans, metrics, tokens };
}

const Noted = defineEvent('telemetry.noted', { schema: z.object({ n: z.number() }) });

test('one trace through a run, a job and an event; the same numbers for Prometheus', async (t) => {
  const collector = await startCollector(t);
  const database = await freshDatabase();
  t.after(() => database.drop());
  const mill = await openMill(t, database.url, {
    telemetry: {
      enabled: true,
      otlpEndpoint: collector.url,
      otlpHeaders: 'authorization=Bearer%20abc',
      serviceName: 'test',
    },
  });
  const job = defineJob('telemetry.job', {
    handler: async ({ n }: { n: number }) => {
      await mill.publish(Noted, { tenantId: 'default', payload: { n } });
    },
  });
  let heard: (traceparent: unknown) => void = () => {};
  const noted = new Promise<unknown>((resolve) => {
    heard = resolve;
  });
  mill.subscribe({
    group: 'telemetry',
    events: [Noted],
    handle: ({ metadata }) => heard(metadata.traceparent),
  });
  const task = defineTask('observed', { namespace: 'telemetry' })
    .step('only', async () => {
      await mill.jobs.enqueue(job, { n: 1 });
      return 'done';
    })
    .build();
  mill.jobs.work(job);
  mill.workflows.work(task);
  await mill.start();
  const run = await mill.workflows.start(task, {});
  assert.deepEqual(await run.result({ timeoutMs: 30_000 }), { only: 'done' });
  const traceparent = String(await noted);

  const named = (name: string) => collector.spans.filter((span) => span.name === name);
  // The event may be heard before the job that published it is over.
  await eventually('the span of the job', async () => {
    await mill.telemetry?.flush();
    return named('job.handle').length > 0;
  });
  const [ofTask] = named('task.orchestration');
  const [ofStep] = named('step.execution');
  const [ofJob] = named('job.handle');
  assert.ok(ofTask && ofStep && ofJob, `spans: ${collector.spans.map(({ name }) => name)}`);
  assert.equal(ofStep.parentSpanId, ofTask.spanId);
  assert.equal(ofJob.parentSpanId, ofStep.spanId);
  assert.deepEqual(
    new Set([ofTask.traceId, ofStep.traceId, ofJob.traceId]),
    new Set([traceparent.split('-')[1]]),
  );
  assert.equal(traceparent.split('-')[2], ofJob.spanId, 'the event was published by the job');
  assert.ok(ofStep.events?.some(({ name }) => name === 'step.completed'));
  assert.ok(collector.metrics.has('tasker.tasks.completions.total'));
  assert.deepEqual([...collector.tokens], ['Bearer abc'], 'traces and metrics, and nothing else');

  const api = createHttpServer({ routes: healthRoutes(mill) });
  t.after(() => api.close());
  const response = await fetch(`${await api.listen(0)}/metrics`);
  const text = await response.text();
  assert.match(response.headers.get('content-type') ?? '', /text\/plain/);
  assert.match(text, /tasker_tasks_completions_total\{[^}]*namespace="telemetry"[^}]*\} 1/);
  assert.match(text, /tasker_steps_completions_total\{[^}]*step_name="only"[^}]*\} 1/);
  assert.match(text, /tasker_tasks_blocked\S* 0/);
  assert.ok(!text.includes(run.runId), 'no ids in labels');
});

test('switched off there is nothing to read', async (t) => {
  const database = await freshDatabase();
  t.after(() => database.drop());
  const mill = await openMill(t, database.url);
  assert.equal(mill.telemetry, null);
  const api = createHttpServer({ routes: healthRoutes(mill) });
  t.after(() => api.close());
  assert.equal((await fetch(`${await api.listen(0)}/metrics`)).status, 404);
});
