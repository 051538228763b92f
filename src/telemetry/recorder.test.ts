/** Every transition of both machines is walked, and what telemetry makes of it is compared. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { SpanStatusCode } from '@opentelemetry/api';
import {
  InMemorySpanExporter,
  SimpleSpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { type NewStep, type RunChange, RunRecord } from '../core/workflow/run-record.ts';
import { isEnd, type StepState, type TaskState } from '../core/workflow/states.ts';
import { moments, systemEventNames } from '../core/workflow/system-events.ts';
import { stepTransitions, taskTransitions } from '../core/workflow/transitions.ts';
import type { RunInfo } from '../ports/workflows.ts';
import { systemEventTelemetry } from './mapping.ts';
import { Recorder } from './recorder.ts';

const info: RunInfo = {
  runId: '019a0000-0000-7000-8000-000000000001',
  tenantId: 'acme',
  namespace: 'payments',
  name: 'process_payment',
  version: '1.0.0',
  templateHash: '',
  identity: null,
  key: '',
  priority: 0,
  correlationId: 'corr-1',
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  parent: null,
  inputJson: '{}',
  metadataJson: null,
  queue: 'payments_queue',
  jobName: 'run payments/process_payment@1.0.0',
  startedAt: 1_000,
};

function setUp() {
  const exporter = new InMemorySpanExporter();
  const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
  const seconds: (readonly [string, number, Readonly<Record<string, string>>])[] = [];
  const recorder = new Recorder({
    tracer: provider.getTracer('test'),
    workerId: 'worker-1',
    durations: {
      state: (value, labels) => seconds.push(['state', value, labels]),
      task: (value, labels) => seconds.push(['task', value, labels]),
      step: (value, labels) => seconds.push(['step', value, labels]),
    },
  });
  const record = new RunRecord();
  const run = { info, record };
  /** As the engine tells it: the record first, then each transition of the change. */
  const apply = (change: Omit<RunChange, 'at' | 'by'>, at = 2_000) => {
    const whole: RunChange = { at, by: 'worker-1', ...change };
    const before = record.steps.length;
    const made: (() => void)[] = [];
    record.apply(whole, (step, from, to) => {
      made.push(() => recorder.transition(run, step, from, to, whole));
    });
    for (const step of record.steps.slice(before)) recorder.stepCreated(run, step, whole);
    for (const tell of made) tell();
  };
  const total = (name: string) =>
    recorder.counters.of(name).reduce((sum, { value }) => sum + value, 0);
  return { exporter, recorder, record, run, apply, total, seconds };
}

const step: NewStep = { name: 'charge_card', kind: 'standard' };
const names = (events: readonly { readonly name: string }[]) => events.map(({ name }) => name);

test('all 35 events have a place in a span', () => {
  assert.equal(systemEventNames.length, 35);
  assert.deepEqual(Object.keys(systemEventTelemetry).sort(), [...systemEventNames].sort());
});

for (const { from, to, systemEvents } of taskTransitions) {
  test(`task ${from} → ${to}`, () => {
    const { exporter, recorder, record, run, apply, total } = setUp();
    recorder.held(run);
    record.state = from;
    const before = new Map([...recorder.counters.read()].map(([name, , value]) => [name, value]));
    apply({ transitions: [[-1, to]] });
    recorder.letGo(run, 'lost');
    const [span] = exporter.getFinishedSpans();
    assert.equal(span?.name, 'task.orchestration');
    assert.deepEqual(names(span.events), [
      ...moments.run_created,
      'task.before_transition',
      ...systemEvents,
    ]);
    for (const { attributes } of span.events.slice(1)) {
      assert.equal(attributes?.['tasker.correlation_id'], 'corr-1');
      assert.equal(attributes?.['tasker.state.from'], from);
      assert.equal(attributes?.['tasker.state.to'], to);
    }
    for (const name of systemEvents) {
      for (const counter of systemEventTelemetry[name].counters) {
        assert.equal(total(counter) - (before.get(counter) ?? 0), 1, counter);
      }
    }
    assert.equal(span.status.code, to === 'error' ? SpanStatusCode.ERROR : SpanStatusCode.OK);
    assert.equal(span.attributes['tasker.task.outcome'], isEnd(to as TaskState) ? to : 'lost');
  });
}

for (const { from, to, systemEvents } of stepTransitions) {
  test(`step ${from} → ${to}`, () => {
    const { exporter, recorder, record, run, apply, total } = setUp();
    recorder.held(run);
    apply({ create: [step], transitions: [] });
    (record.steps[0] as { state: StepState }).state = from;
    const before = new Map([...recorder.counters.read()].map(([name, , value]) => [name, value]));
    apply({ transitions: [[0, to]] });
    recorder.letGo(run, 'lost');
    const seen = exporter.getFinishedSpans().flatMap((span) => names(span.events));
    for (const name of ['step.before_transition', ...systemEvents]) {
      assert.ok(seen.includes(name), `${name} in ${seen}`);
    }
    for (const name of systemEvents) {
      for (const counter of systemEventTelemetry[name].counters) {
        assert.equal(total(counter) - (before.get(counter) ?? 0), 1, counter);
      }
    }
    assert.equal(recorder.openSpans, 0);
  });
}

test('a run of one step is one trace: task, step, and what the handler makes', () => {
  const { exporter, recorder, record, run, apply, total, seconds } = setUp();
  recorder.created(info);
  recorder.held(run);
  apply(
    {
      create: [step],
      transitions: [
        [-1, 'initializing'],
        [-1, 'enqueuing_steps'],
      ],
    },
    1_010,
  );
  apply(
    {
      transitions: [
        [0, 'enqueued'],
        [-1, 'steps_in_process'],
        [0, 'in_progress'],
      ],
    },
    1_020,
  );
  assert.equal(recorder.readySteps, 0);
  const answer = recorder.handler(run, record.steps[0] as never, 1, () => 'charged');
  assert.equal(answer, 'charged');
  apply(
    {
      facts: [{ step: 0, resultJson: '{}' }],
      transitions: [
        [0, 'enqueued_for_orchestration'],
        [0, 'complete'],
        [-1, 'evaluating_results'],
        [-1, 'complete'],
      ],
    },
    1_200,
  );
  const [ofStep, ofTask] = exporter.getFinishedSpans();
  assert.equal(ofStep?.name, 'step.execution');
  assert.equal(ofTask?.name, 'task.orchestration');
  assert.equal(ofTask.spanContext().traceId, '0af7651916cd43dd8448eb211c80319c');
  assert.equal(ofTask.parentSpanContext?.spanId, 'b7ad6b7169203331');
  assert.equal(ofStep.spanContext().traceId, ofTask.spanContext().traceId);
  assert.equal(ofStep.parentSpanContext?.spanId, ofTask.spanContext().spanId);
  assert.equal(ofStep.attributes['tasker.step.name'], 'charge_card');
  assert.equal(ofTask.attributes['tasker.task.uuid'], info.runId);
  assert.equal(total('tasker.tasks.requests.total'), 1);
  assert.equal(total('tasker.tasks.completions.total'), 1);
  assert.deepEqual(recorder.counters.of('tasker.steps.completions.total'), [
    { labels: { namespace: 'payments', step_name: 'charge_card' }, value: 1 },
  ]);
  const whole = seconds.find(([what]) => what === 'task');
  assert.deepEqual(whole, ['task', 0.2, { namespace: 'payments', state: 'complete' }]);
  assert.ok(seconds.some(([what, , labels]) => what === 'step' && labels.step_name !== undefined));
});

test('no label has an id: memo keys are counted by their kind', () => {
  const { recorder, run, apply } = setUp();
  recorder.held(run);
  apply({ create: [{ name: 'send:inv_4711', kind: 'run' }], transitions: [] });
  apply({
    transitions: [
      [0, 'enqueued'],
      [0, 'in_progress'],
      [0, 'complete'],
    ],
  });
  const labels = [...recorder.counters.read()].flatMap(([, one]) => Object.values(one));
  assert.ok(!labels.some((label) => label.includes('4711') || label === info.runId), `${labels}`);
});

test('a step of a run held elsewhere has a span of its own, over with its handler', async () => {
  const { exporter, recorder, record, run, seconds } = setUp();
  const declined = new Error('declined');
  record.apply({ at: 1_000, by: 'worker-2', create: [step, step, step], transitions: [] });
  const handle = <T>(no: number, call: () => T) =>
    recorder.handler(run, record.steps[no] as never, 2, call);
  const answer = handle(0, async () => 'charged');
  assert.deepEqual(exporter.getFinishedSpans(), [], 'the handler is not over');
  assert.equal(await answer, 'charged');
  await assert.rejects(
    handle(1, () => Promise.reject(declined)),
    declined,
  );
  assert.throws(
    () =>
      handle(2, () => {
        throw declined;
      }),
    declined,
  );
  const spans = exporter.getFinishedSpans();
  assert.deepEqual(names(spans), Array(3).fill('step.execution'));
  for (const span of spans) {
    assert.equal(span.spanContext().traceId, '0af7651916cd43dd8448eb211c80319c');
    assert.equal(span.parentSpanContext?.spanId, 'b7ad6b7169203331');
    assert.deepEqual(names(span.events), [...moments.before_handle, ...moments.handle]);
    assert.equal(span.attributes['tasker.step.attempt'], 2);
    assert.equal(span.attributes['tasker.worker_id'], 'worker-1');
  }
  const { OK, ERROR } = SpanStatusCode;
  assert.deepEqual(
    spans.map(({ status }) => [status.code, status.message]),
    [
      [OK, undefined],
      [ERROR, 'declined'],
      [ERROR, 'declined'],
    ],
  );
  assert.equal(seconds.filter(([what]) => what === 'step').length, 3);
  assert.equal(recorder.openSpans, 0);
});
