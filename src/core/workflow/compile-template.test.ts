/** Templates that programs write: defaults, aliases, overrides, what is frozen and stored. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MillraceError } from '../errors.ts';
import { checkTemplate, compileTemplate, restoreTemplate } from './compile-template.ts';
import type { CompiledStep } from './template.ts';

const handler = { callable: 'work' };
const minimal = { name: 'orders', steps: [{ name: 'charge', handler }] };
const withStep = (step: object, more: object = {}) => ({
  name: 'orders',
  steps: [{ name: 'charge', handler, ...step }],
  ...more,
});
const stepOf = (raw: unknown, environment?: string): CompiledStep =>
  compileTemplate(raw, { environment }).steps[0] as CompiledStep;
const problemsOf = (raw: unknown) =>
  checkTemplate(raw).problems.map(({ path, message }) => `${path.join('.')}: ${message}`);

describe('defaults', () => {
  test('of a template', () => {
    const { canonicalJson, graph, steps, ...rest } = compileTemplate(minimal);
    assert.deepEqual(rest, {
      namespace: 'default',
      name: 'orders',
      version: '1.0.0',
      description: undefined,
      metadata: {
        author: undefined,
        tags: [],
        documentationUrl: undefined,
        createdAt: undefined,
        updatedAt: undefined,
      },
      systemDependencies: { primary: 'default', secondary: [] },
      domainEvents: [],
      inputSchema: null,
      identity: 'strict',
      priority: 0,
      keyPath: null,
      limits: null,
      keyLimits: null,
      lifecycle: {
        maxDurationMinutes: undefined,
        maxWaitingForDependenciesMinutes: undefined,
        maxWaitingForRetryMinutes: undefined,
        maxStepsInProcessMinutes: undefined,
        stalenessAction: 'dlq',
        autoFailOnTimeout: undefined,
        autoDlqOnTimeout: undefined,
      },
      environment: null,
    });
    assert.equal(steps.length, graph.nodes.length);
    assert.equal(typeof canonicalJson, 'string');
  });

  test('of a step', () => {
    assert.deepEqual(stepOf(minimal), {
      no: 0,
      name: 'charge',
      description: undefined,
      type: 'standard',
      handler: { callable: 'work', method: null, resolver: null, initialization: {} },
      namespace: null,
      systemDependency: null,
      dependencies: [],
      retry: {
        retryable: true,
        maxAttempts: 3,
        backoff: 'exponential',
        backoffBaseMs: 1_000,
        maxBackoffMs: 30_000,
      },
      timeoutMs: 0,
      publishesEvents: [],
      batch: null,
      resultSchema: null,
      composition: null,
      compensate: null,
      transactional: false,
    });
  });

  test('of a batch, an event and a rate', () => {
    const { steps, limits } = compileTemplate({
      name: 'a',
      rate: { limit: 5 },
      steps: [
        { name: 'b', type: 'batchable', handler, batch_config: { worker_template: 'w' } },
        { name: 'w', type: 'batch_worker', handler, dependencies: ['b'] },
        { name: 'p', handler, publishes_events: [{ name: 'a.b' }] },
      ],
    });
    assert.deepEqual(steps[0]?.batch, {
      batchSize: 1_000,
      parallelism: 10,
      cursorField: 'id',
      workerTemplate: 'w',
      failureStrategy: 'continue_on_failure',
    });
    assert.deepEqual(steps[2]?.publishesEvents, [
      {
        name: 'a.b',
        description: undefined,
        schema: undefined,
        delivery: undefined,
        condition: 'success',
        publisher: null,
      },
    ]);
    assert.deepEqual(limits, { rate: { max: 5, perMs: 1_000 } });
  });

  test('the cap of the backoff is never below its base', () => {
    assert.equal(
      stepOf(withStep({ retry: { backoff_base_ms: 50_000 } })).retry.maxBackoffMs,
      50_000,
    );
  });

  test('what is not retryable has one try', () => {
    assert.equal(stepOf(withStep({ retry: { retryable: false } })).retry.maxAttempts, 1);
  });

  test('null counts as absent', () => {
    const raw = { ...withStep({ retry: null, dependencies: null }), description: null };
    assert.equal(compileTemplate(raw).canonicalJson, compileTemplate(minimal).canonicalJson);
  });
});

describe('meaning', () => {
  test('both names of a field are one', () => {
    const steps = (own: object) => ({
      name: 'a',
      steps: [
        { name: 's', handler },
        { name: 't', handler, ...own },
      ],
    });
    const event = { name: 'a.b' };
    const long = steps({
      type: 'deferred_convergence',
      dependencies: ['s'],
      publishes_events: [{ ...event, delivery: 'fire_and_forget' }],
    });
    const short = steps({
      step_type: 'deferred_convergence',
      depends_on: ['s'],
      publishes_events: [{ ...event, delivery_mode: 'fast' }],
    });
    assert.equal(compileTemplate(short).canonicalJson, compileTemplate(long).canonicalJson);
    const agreeing = withStep({ type: 'standard', step_type: 'standard' });
    assert.equal(stepOf(agreeing).type, 'standard');
    assert.deepEqual(problemsOf(withStep({ type: 'standard', step_type: 'decision' })), [
      'steps.0.step_type: means the same as type and has another value',
    ]);
  });

  test('limits with and without a key', () => {
    const limitsOf = (more: object) => {
      const { keyPath, limits, keyLimits } = compileTemplate({ ...minimal, ...more });
      return [keyPath, limits, keyLimits];
    };
    assert.deepEqual(limitsOf({ concurrency: { limit: 3 } }), [null, { concurrency: 3 }, null]);
    assert.deepEqual(limitsOf({ concurrency: { key: 'a.b' } }), [['a', 'b'], null, null]);
    assert.deepEqual(
      limitsOf({
        concurrency: { key: 'a', limit: 3, total_limit: 9 },
        rate: { limit: 7, period_seconds: 60, scope: 'key' },
      }),
      [['a'], { concurrency: 9 }, { concurrency: 3, rate: { max: 7, perMs: 60_000 } }],
    );
  });

  test('a step in the namespace of the template runs where the run is', () => {
    const raw = { ...withStep({ namespace: 'shop' }), namespace_name: 'shop' };
    assert.equal(stepOf(raw).namespace, null);
    assert.equal(stepOf(withStep({ namespace: 'shop' })).namespace, 'shop');
  });

  test('an event takes the schema of its declaration, unless it has one', () => {
    const declared = { type: 'object' };
    const own = { type: 'object', required: ['x'] };
    const schemaOf = (event: object) =>
      stepOf(
        withStep(
          { publishes_events: [{ name: 'a.b', ...event }] },
          { domain_events: [{ name: 'a.b', schema: declared }] },
        ),
      ).publishesEvents[0]?.schema;
    assert.deepEqual(schemaOf({}), declared);
    assert.deepEqual(schemaOf({ schema: own }), own);
  });

  test('half a second is a timeout', () => {
    assert.equal(stepOf(withStep({ timeout_seconds: 0.5 })).timeoutMs, 500);
  });
});

describe('an environment', () => {
  const raw = {
    name: 'a',
    steps: [
      {
        name: 's',
        handler: { callable: 'c', initialization: { url: 'dev', deep: { a: 1, b: [1] } } },
        timeout_seconds: 1,
        retry: { max_attempts: 2, backoff: 'linear' },
      },
      { name: 't', handler },
    ],
    environments: {
      production: {
        steps: [
          // By name counts more than ALL, wherever it stands.
          { name: 's', retry: { max_attempts: 9 }, handler: { initialization: { url: 'prod' } } },
          {
            name: 'ALL',
            timeout_seconds: 60,
            retry: { max_attempts: 5 },
            handler: { initialization: { url: 'all', deep: { b: [2], c: { d: null } } } },
          },
        ],
      },
      empty: null,
    },
  };

  test('overrides by ALL, then by name, and merges initialization', () => {
    const [s, t] = compileTemplate(raw, { environment: 'production' }).steps;
    assert.deepEqual(s?.handler.initialization, {
      url: 'prod',
      deep: { a: 1, b: [2], c: { d: null } },
    });
    assert.equal(s?.timeoutMs, 60_000);
    assert.deepEqual([s?.retry.maxAttempts, s?.retry.backoff], [9, 'linear']);
    assert.deepEqual([t?.retry.maxAttempts, t?.timeoutMs], [5, 60_000]);
    assert.deepEqual(t?.handler.initialization, { url: 'all', deep: { b: [2], c: { d: null } } });
  });

  test('changes nothing unless it is asked for and known', () => {
    for (const environment of [undefined, null, 'empty', 'staging', 'constructor', '__proto__']) {
      const [s] = compileTemplate(raw, { environment }).steps;
      assert.deepEqual([s?.timeoutMs, s?.retry.maxAttempts], [1_000, 2], String(environment));
    }
  });

  test('is part of what is stored', () => {
    const plain = compileTemplate(raw).canonicalJson;
    assert.notEqual(compileTemplate(raw, { environment: 'production' }).canonicalJson, plain);
  });

  test('is checked where it is not applied', () => {
    const wrong = {
      ...raw,
      environments: { test: { steps: [{ name: 'z', timeout_seconds: 0 }] } },
    };
    assert.deepEqual(problemsOf(wrong), [
      'environments.test.steps.0.timeout_seconds: is 0, not from 0.001 to 2592000',
      "environments.test.steps.0.name: is 'z', and there is no such step",
    ]);
  });

  test('a fault that it brings stands at its own place, once', () => {
    const retry = { max_backoff_ms: 200 };
    const wrong = { ...raw, environments: { production: { steps: [{ name: 'ALL', retry }] } } };
    const { problems } = checkTemplate(wrong, { environment: 'production' });
    assert.deepEqual(
      problems.map(({ path }) => path.join('.')),
      ['environments.production.steps.0.retry.max_backoff_ms'],
    );
    assert.deepEqual(problemsOf(wrong), []);
  });
});

describe('what is compiled', () => {
  test('is frozen to the bottom and apart from what it was made of', () => {
    const initialization = { a: [1] };
    const raw = withStep({ handler: { callable: 'c', initialization } });
    const template = compileTemplate(raw);
    const isFrozen = (value: unknown): boolean =>
      typeof value !== 'object' ||
      value === null ||
      (Object.isFrozen(value) && Object.values(value).every(isFrozen));
    assert.ok(isFrozen(template));
    initialization.a[0] = 2;
    assert.deepEqual(template.steps[0]?.handler.initialization, { a: [1] });
    assert.ok(!Object.isFrozen(raw.steps));
  });

  test('has one text, whatever order it was written in', () => {
    const turned = { steps: [{ handler, name: 'charge' }], name: 'orders' };
    assert.equal(compileTemplate(turned).canonicalJson, compileTemplate(minimal).canonicalJson);
    assert.notEqual(
      compileTemplate(withStep({ timeout_seconds: 1 })).canonicalJson,
      compileTemplate(minimal).canonicalJson,
    );
  });

  test('comes back from its text, graph and all', () => {
    const template = compileTemplate({
      name: 'a',
      description: 'd',
      steps: [
        { name: 'b', type: 'batchable', handler, batch_config: { worker_template: 'w' } },
        { name: 'w', type: 'batch_worker', handler, dependencies: ['b'] },
      ],
    });
    const restored = restoreTemplate(template.canonicalJson);
    const plain = (value: unknown) => JSON.parse(JSON.stringify(value)) as unknown;
    assert.deepEqual(plain(restored), plain(template));
    assert.ok(Object.isFrozen(restored) && Object.isFrozen(restored.steps[0]));
    assert.equal(restored.graph.find('w')?.no, 1);
    assert.throws(() => restoreTemplate('{"format":2,"steps":[]}'), /has the format 2/);
  });
});

describe('what is refused', () => {
  test('is thrown with every problem, its path and what to do', () => {
    assert.throws(
      () => compileTemplate({ nam: 'a', steps: [{ name: 's' }] }),
      (error: MillraceError) => {
        assert.ok(error instanceof MillraceError);
        assert.equal(error.code, 'TEMPLATE_INVALID');
        assert.deepEqual(error.details, {
          problems: [
            {
              ...{ file: null, line: null, column: null, path: 'nam' },
              message: 'is not a known field',
              hint: "Did you mean 'name'?",
            },
            {
              ...{ file: null, line: null, column: null, path: 'name' },
              message: 'is required',
              hint: 'For example: "process_payment"',
            },
            {
              ...{ file: null, line: null, column: null, path: 'steps[0].handler' },
              message: 'is required',
              hint: 'For example: {"callable":"charge_card"}',
            },
          ],
        });
        assert.match(
          error.message,
          /^3 problems in templates:\n {2}nam: is not a known field\. Did/,
        );
        return true;
      },
    );
  });

  test('also when it is no JSON at all', () => {
    const circle: Record<string, unknown> = {};
    circle.self = circle;
    const init = (initialization: unknown) =>
      problemsOf(withStep({ handler: { callable: 'c', initialization } }));
    assert.match(init(circle)[0] ?? '', /initialization: .*contains itself/);
    assert.match(init({ at: new Date(0) })[0] ?? '', /initialization.at is a Date/);
    assert.match(init({ n: Number.NaN })[0] ?? '', /is NaN/);
    for (const raw of [undefined, null]) assert.equal(problemsOf(raw).length, 2);
    for (const raw of [5, 'x', [], () => 1, Symbol('x'), 5n]) {
      assert.match(problemsOf(raw)[0] ?? '', /^: is .*, not an object$/);
    }
    const values = [
      circle,
      5n,
      Symbol('x'),
      () => 1,
      new Map(),
      Number.NaN,
      Number.POSITIVE_INFINITY,
    ];
    for (const value of values) {
      for (const field of ['name', 'priority', 'identity', 'steps', 'rate', 'environments']) {
        assert.notEqual(problemsOf({ ...minimal, [field]: value }).length, 0, field);
      }
    }
  });

  test('names of Object.prototype are names like any other', () => {
    const raw = JSON.parse('{"name":"a","steps":[],"constructor":1,"__proto__":{"x":1}}');
    assert.deepEqual(problemsOf(raw), [
      'constructor: is not a known field',
      '__proto__: is not a known field',
      'steps: has 0 entries, it needs 1',
    ]);
    assert.match(problemsOf(withStep({ type: 'toString' }))[0] ?? '', /is "toString", not one of/);
  });
});
