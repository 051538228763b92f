/**
 * Properties of core, on random input. Bounded (about a second), with one seed for all that is
 * printed: `FUZZ_SEED=<seed>` repeats a run, `FUZZ_RUNS` makes it longer.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { backoffDelayMs, parseBackoff } from './backoff.ts';
import { errorRecord } from './error-record.ts';
import { MillraceError } from './errors.ts';
import { defineEvent, prepareEvent } from './event.ts';
import { toTimestamp } from './event-fields.ts';
import { eventIdTime, newEventId, uuidv7Floor } from './ids.ts';
import { defineJob } from './job-definition.ts';
import { checkJson, freezeJson, parseJson, parseStored } from './json.ts';
import { murmur2, partitionFor, partitionKey } from './partition.ts';
import { parseRetryPolicy, retryDelayMs } from './retry.ts';

const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
const numRuns = Number(process.env.FUZZ_RUNS ?? 300);

function property<T extends [unknown, ...unknown[]]>(
  name: string,
  arbitraries: { [K in keyof T]: fc.Arbitrary<T[K]> },
  check: (...values: T) => void,
): void {
  test(name, (t) => {
    t.diagnostic(`FUZZ_SEED=${seed}`);
    fc.assert(fc.property(...arbitraries, check), { seed, numRuns });
  });
}

const json = fc.jsonValue({ maxDepth: 5 }).map((value) => value as unknown);
const anyText = fc.string({ unit: 'binary' });

function isDeepFrozen(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return Object.isFrozen(value) && Object.values(value).every(isDeepFrozen);
}

/** The value, or null when it was refused as not being JSON; any other error is a bug. */
function attempt<T>(run: () => T): { value: T } | null {
  try {
    return { value: run() };
  } catch (error) {
    assert.ok(error instanceof MillraceError && error.code === 'PAYLOAD_NOT_JSON', String(error));
    assert.match(error.message, /^payload.*\.$/s);
    return null;
  }
}

property('freezeJson: refused, or the same as a round trip', [fc.anything()], (value) => {
  const frozen = attempt(() => freezeJson(value));
  if (frozen === null) return;
  assert.deepStrictEqual(frozen.value, JSON.parse(JSON.stringify(value)));
  assert.ok(isDeepFrozen(frozen.value));
});

property('checkJson refuses what freezeJson refuses, in its words', [fc.anything()], (value) => {
  const outcome = (run: () => unknown) => {
    try {
      return JSON.stringify(run());
    } catch (error) {
      return (error as Error).message;
    }
  };
  const frozen = outcome(() => freezeJson(value));
  const checked = outcome(() => {
    checkJson(value);
    return value;
  });
  assert.equal(checked, frozen);
});

const survives = (value: unknown) => attempt(() => freezeJson(value)) !== null;

property(
  'parseJson and parseStored read back what was frozen',
  [json.filter(survives)],
  (value) => {
    const text = JSON.stringify(value, null, (value as { length?: number })?.length ?? 0);
    assert.deepStrictEqual(parseJson(text), JSON.parse(text));
    assert.deepStrictEqual(parseStored(text), JSON.parse(text));
    assert.ok(isDeepFrozen(parseStored(text)));
  },
);

const spoiledJson = fc
  .tuple(json, fc.nat(), fc.nat(4), fc.constantFrom(...'{}[]",:\\u0e-+.19tfn \n\ud83d'))
  .map(([value, at, cut, character]) => {
    const text = JSON.stringify(value);
    const i = at % (text.length + 1);
    return text.slice(0, i) + character + text.slice(i + cut);
  });

property('parseJson: what it takes, JSON.parse and freezeJson take', [spoiledJson], (text) => {
  const parsed = attempt(() => parseJson(text));
  if (parsed === null) return;
  assert.deepStrictEqual(parsed.value, JSON.parse(text));
  freezeJson(parsed.value);
});

property('parseJson: calls no valid JSON wrong in its syntax', [spoiledJson], (text) => {
  try {
    JSON.parse(text);
  } catch {
    return;
  }
  const syntax = /is not JSON|without an end|not escaped|escape that JSON does not know/;
  try {
    parseJson(text);
  } catch (error) {
    assert.doesNotMatch((error as Error).message, syntax);
  }
});

property('parseJson: what it takes or refuses never depends on space', [spoiledJson], (text) => {
  const spaced = `\n ${text}\t\r`;
  assert.deepStrictEqual(
    attempt(() => parseJson(spaced)),
    attempt(() => parseJson(text)),
  );
});

/** Digits × 10^exponent, exactly. */
const decimal = fc.record({
  digits: fc.bigInt({ min: 0n, max: 10n ** 20n }),
  exponent: fc.integer({ min: -30, max: 12 }),
});

/** digits × 10^30, as a whole number: equal for equal values. */
function scaled(literal: string): bigint {
  const [mantissa = '', exponent = '0'] = literal.toLowerCase().split('e');
  const [whole = '', fraction = ''] = mantissa.split('.');
  const shift = Number(exponent) - fraction.length + 60;
  return BigInt(whole + fraction) * 10n ** BigInt(shift);
}

property(
  'parseJson: a number is taken when it is exactly kept',
  [decimal],
  ({ digits, exponent }) => {
    const literal = `${digits}e${exponent}`;
    const value = Number(literal);
    const kept = scaled(String(value)) === scaled(literal);
    const safe = !Number.isInteger(value) || Number.isSafeInteger(value);
    assert.equal(attempt(() => parseJson(literal)) !== null, kept && safe, literal);
  },
);

property(
  'ids ascend whatever the clock does within seconds',
  [fc.array(fc.nat(9_000))],
  (steps) => {
    const base = Date.now() + 3_600_000;
    let last = newEventId(base + 9_000);
    for (const step of steps) {
      const id = newEventId(base + step);
      assert.ok(last < id);
      last = id;
    }
  },
);

property('a floor holds its time', [fc.nat(2 ** 48 - 1)], (ms) => {
  assert.equal(eventIdTime(uuidv7Floor(ms)), ms);
});

property(
  'partitions follow the UTF-8 bytes',
  [anyText, anyText, fc.integer({ min: 1, max: 300 })],
  (tenantId, key, partitions) => {
    const bytes = new TextEncoder().encode(partitionKey(tenantId, key));
    const partition = partitionFor(tenantId, key, partitions);
    assert.equal(partition, (murmur2(bytes) & 0x7fffffff) % partitions);
  },
);

const policy = fc.record({
  maxRetries: fc.nat(1000),
  initialDelayMs: fc.nat(10_000),
  multiplier: fc.double({ min: 1, max: 100, noNaN: true }),
  maxDelayMs: fc.integer({ min: 10_000, max: 86_400_000 }),
  jitter: fc.double({ min: 0, max: 1, noNaN: true }),
});

property(
  'delays never shrink and keep their cap',
  [policy, fc.integer({ min: 1, max: 1000 }), fc.double({ min: 0, max: 1, noNaN: true })],
  (given, attemptNumber, random) => {
    const parsed = parseRetryPolicy(given);
    const delayMs = retryDelayMs(parsed, attemptNumber, random);
    assert.ok(Number.isSafeInteger(delayMs) && delayMs >= 0);
    assert.ok(delayMs <= Math.round(parsed.maxDelayMs * (1 + parsed.jitter)));
    assert.ok(retryDelayMs(parsed, attemptNumber + 1, random) >= delayMs);
  },
);

const backoff = fc.record({
  kind: fc.constantFrom('none', 'fixed', 'linear', 'exponential', 'fibonacci'),
  delayMs: fc.nat(10_000),
  multiplier: fc.double({ min: 1, max: 100, noNaN: true }),
  maxDelayMs: fc.integer({ min: 10_000, max: 86_400_000 }),
  jitter: fc.double({ min: 0, max: 1, noNaN: true }),
});

property(
  'backoffs never shrink and keep their cap',
  [backoff, fc.integer({ min: 1, max: 5_000 }), fc.double({ min: 0, max: 1, noNaN: true })],
  (given, attemptNumber, random) => {
    const parsed = parseBackoff(given);
    const delayMs = backoffDelayMs(parsed, { attempt: attemptNumber, random });
    assert.ok(Number.isSafeInteger(delayMs) && delayMs >= 0);
    assert.ok(delayMs <= Math.round(parsed.maxDelayMs * (1 + parsed.jitter)));
    assert.ok(backoffDelayMs(parsed, { attempt: attemptNumber + 1, random }) >= delayMs);
    // What travels with a job comes back as the same policy.
    const { delay: _, ...stored } = parsed;
    assert.deepStrictEqual(parseBackoff(JSON.parse(JSON.stringify(stored))), parsed);
  },
);

property(
  'each fibonacci delay is the sum of the two before it',
  [fc.integer({ min: 1, max: 1_000 }), fc.integer({ min: 3, max: 20 })],
  (delayMs, attemptNumber) => {
    const parsed = parseBackoff({ kind: 'fibonacci', delayMs, jitter: 0, maxDelayMs: 86_400_000 });
    const at = (attempt: number) => backoffDelayMs(parsed, { attempt });
    assert.equal(at(attemptNumber), at(attemptNumber - 1) + at(attemptNumber - 2));
  },
);

property('a custom backoff may answer anything', [fc.anything()], (answer) => {
  const parsed = parseBackoff({ kind: 'custom', delay: () => answer as number, delayMs: 50 });
  let problems = 0;
  const delayMs = backoffDelayMs(parsed, { attempt: 1, onProblem: () => (problems += 1) });
  assert.ok(Number.isSafeInteger(delayMs) && delayMs >= 0 && delayMs <= parsed.maxDelayMs);
  const usable = typeof answer === 'number' && answer >= 0;
  assert.deepEqual([problems, usable || delayMs === 50], [usable ? 0 : 1, true]);
});

const time = fc.date({
  min: new Date('0001-01-02T00:00:00Z'),
  max: new Date('9999-12-30T00:00:00Z'),
  noInvalidDate: true,
});

property(
  'a time is the same in every form',
  [time, fc.integer({ min: -839, max: 839 })],
  (date, offset) => {
    const iso = date.toISOString();
    const twoDigits = (count: number) => String(count).padStart(2, '0');
    const minutes = Math.abs(offset);
    const sign = offset < 0 ? '-' : '+';
    const zone = `${sign}${twoDigits(Math.trunc(minutes / 60))}:${twoDigits(minutes % 60)}`;
    const local = new Date(date.getTime() + offset * 60_000).toISOString().replace('Z', zone);
    for (const form of [date, date.getTime(), iso, local]) assert.equal(toTimestamp(form), iso);
  },
);

const Anything = defineEvent('Anything', { schema: z.unknown() });

property('a prepared event is what its JSON says', [json.filter(survives)], (payload) => {
  const { event, payloadJson } = prepareEvent(Anything, { tenantId: 'acme', payload });
  assert.deepStrictEqual(event.payload, JSON.parse(payloadJson));
  assert.deepStrictEqual(parseStored(payloadJson), event.payload);
  assert.ok(isDeepFrozen(event));
});

const Bare = defineJob('bare');

property('a prepared job comes back as it was', [json.filter(survives)], (payload) => {
  const { version, payloadJson } = Bare.prepare(payload);
  assert.deepStrictEqual(Bare.decode(version, payloadJson), JSON.parse(JSON.stringify(payload)));
  assert.deepStrictEqual(Bare.decodeResult(Bare.printResult(payload)), JSON.parse(payloadJson));
});

property('a job is refused, or its payload is JSON', [fc.anything()], (payload) => {
  const prepared = attempt(() => Bare.prepare(payload));
  if (prepared === null) return;
  assert.equal(prepared.value.payloadJson, JSON.stringify(payload ?? null));
});

property('whatever is thrown can be recorded', [fc.anything()], (thrown) => {
  const { code, message, stack, fingerprint } = errorRecord(thrown);
  assert.ok(message.length > 0);
  for (const text of [code ?? '', message, stack ?? '', fingerprint]) {
    assert.ok(text.isWellFormed() && !text.includes('\0') && text.length <= 8_192);
  }
});
