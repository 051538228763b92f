import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MillraceError, permanentFailure } from '../../core/errors.ts';
import type { StoredEvent } from '../../core/event.ts';
import { newEventId } from '../../core/ids.ts';
import { parseRetryPolicy } from '../../core/retry.ts';
import { decideFailure, fingerprintOf, park } from './failure-policy.ts';

const policy = parseRetryPolicy({ maxRetries: 2, initialDelayMs: 1_000, jitter: 0 });

function stored(eventType = 'Thing'): StoredEvent {
  return {
    eventId: newEventId(),
    eventType,
    version: 1,
    tenantId: 't',
    key: 'k',
    timestamp: new Date().toISOString(),
    correlationId: 'c',
    causationId: null,
    payload: {},
    metadata: {},
    partition: 3,
    offset: 7,
  };
}

const decide = (error: unknown, attempts = 1, event = stored()) =>
  decideFailure({ event, group: 'g', attempts, error, policy });

describe('a failed call', () => {
  it('leads to retries with growing delays, then to a dead letter', () => {
    const outcomes = [1, 2, 3].map((attempts) => decide(new Error('no'), attempts).failure);
    assert.deepEqual(
      outcomes.map(({ status, delayMs, attempts }) => [status, delayMs, attempts]),
      [
        ['retrying', 1_000, 1],
        ['retrying', 2_000, 2],
        ['dead', null, 3],
      ],
    );
  });

  it('is final at once when trying again cannot help', () => {
    const future = new MillraceError('EVENT_VERSION_UNSUPPORTED', 'version 9');
    for (const error of [permanentFailure('closed'), future]) {
      assert.equal(decide(error).failure.status, 'dead');
    }
    assert.equal(decide(new MillraceError('HANDLER_TIMEOUT', 'late')).failure.status, 'retrying');
  });

  it('is told by a control event of the same key, partition and correlation', () => {
    const event = stored();
    for (const [attempts, type] of [
      [1, 'RetryScheduled'],
      [3, 'DeadLettered'],
    ] as const) {
      const [told, ...others] = decide(new Error('no'), attempts, event).followUps;
      assert.deepEqual(others, []);
      assert.equal(told?.partition, 3);
      const { eventType, tenantId, key, correlationId, causationId } = told?.event ?? {};
      assert.deepEqual(
        { eventType, tenantId, key, correlationId, causationId },
        {
          eventType: type,
          tenantId: 't',
          key: 'k',
          correlationId: 'c',
          causationId: event.eventId,
        },
      );
    }
    assert.deepEqual(decide(new Error('no'), 1, stored('DeadLettered')).followUps, []);
  });

  it('may throw anything at all', () => {
    const cyclic: Record<string, unknown> = {};
    cyclic.self = cyclic;
    const hostile = Object.assign(new Error('nul \u0000 and \ud800'), {
      code: 42,
      stack: undefined,
    });
    const thrown = [
      'text',
      undefined,
      null,
      7n,
      Symbol('s'),
      cyclic,
      () => 1,
      hostile,
      new Error(''),
    ];
    for (const error of thrown) {
      const { failure, followUps } = decide(error);
      assert.ok(typeof failure.reason === 'string' && failure.reason.length > 0);
      assert.ok(failure.reason.isWellFormed() && !failure.reason.includes('\u0000'));
      assert.equal(followUps.length, 1);
    }
    const long = decide(new Error('x'.repeat(1_000_000))).failure;
    assert.ok((long.reason ?? '').length <= 1_000 && (long.detail ?? '').length <= 4_000);
  });

  it('parks what waits behind it without an attempt', () => {
    const { status, attempts, delayMs } = park(stored());
    assert.deepEqual(
      { status, attempts, delayMs },
      { status: 'parked', attempts: 0, delayMs: null },
    );
  });
});

describe('a fingerprint', () => {
  const of = (reason: string, code: string | null = 'E') =>
    fingerprintOf('g', 'Thing', code, reason);

  it('is the same for failures of one kind', () => {
    assert.equal(of('order 17 of 3.5 kg is late'), of('order 4 of 12 kg is late'));
    assert.equal(of(`no account 'a-1'`), of(`no account 'b'`));
    assert.equal(of('no "x"'), of('no "y z"'));
    assert.equal(of(`event ${newEventId()} is unknown`), of(`event ${newEventId()} is unknown`));
  });

  it('differs with the kind, the code, the type and the group', () => {
    const all = [
      of('order is late'),
      of('order is lost'),
      of('order is late', 'F'),
      of('order is late', null),
      fingerprintOf('h', 'Thing', 'E', 'order is late'),
      fingerprintOf('g', 'Other', 'E', 'order is late'),
    ];
    assert.equal(new Set(all).size, all.length);
  });

  it('is short, whatever was thrown', () => {
    assert.ok(of('x '.repeat(10_000)).length < 250);
  });
});
