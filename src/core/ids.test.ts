import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventIdTime, isUuid, newEventId, uuidv7Floor } from './ids.ts';

const now = Date.now();

test('an id is a UUIDv7 in lower case that holds its time', () => {
  const id = newEventId();
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.ok(Math.abs(eventIdTime(id) - Date.now()) < 1000);
});

test('ids ascend and differ, within a millisecond and beyond', () => {
  const ids = Array.from({ length: 100_000 }, (_, i) =>
    newEventId(now + 60_000 + Math.floor(i / 40_000)),
  );
  for (let i = 1; i < ids.length; i += 1) {
    assert.ok((ids[i - 1] as string) < (ids[i] as string), `${ids[i - 1]} < ${ids[i]}`);
  }
});

test('part of a millisecond does not start it again', () => {
  const at = now + 120_000;
  const ids = Array.from({ length: 20 }, (_, i) => newEventId(at + i / 20));
  assert.deepEqual([...ids].sort(), ids);
  assert.equal(eventIdTime(ids[2] as string), at);
});

test('a clock set back a little keeps ids ascending, set back far it is believed', () => {
  const at = now + 180_000;
  const first = newEventId(at);
  const second = newEventId(at - 9_000);
  assert.ok(first < second);
  assert.equal(eventIdTime(second), at);
  assert.equal(eventIdTime(newEventId(at - 60_000)), at - 60_000);
});

test('the example of RFC 9562 appendix A.6 reads as its time', () => {
  const id = '017F22E2-79B0-7CC3-98C4-DC0C0C07398F';
  assert.equal(eventIdTime(id), Date.parse('2022-02-22T19:22:22Z'));
  assert.equal(uuidv7Floor(eventIdTime(id)), '017f22e2-79b0-7000-8000-000000000000');
});

test('the floor is below every id of its millisecond and above those before', () => {
  const at = now + 240_000;
  const before = newEventId(at - 1);
  const within = newEventId(at);
  assert.ok(before < uuidv7Floor(at));
  assert.ok(uuidv7Floor(at) <= within);
  assert.ok(within < uuidv7Floor(at + 1));
});

test('times and ids that do not fit are refused', () => {
  for (const ms of [Number.NaN, -1, 2 ** 48, Number.POSITIVE_INFINITY]) {
    assert.throws(() => newEventId(ms), { code: 'EVENT_INVALID' });
    assert.throws(() => uuidv7Floor(ms), { code: 'EVENT_INVALID' });
  }
  assert.equal(uuidv7Floor(2 ** 48 - 1), 'ffffffff-ffff-7000-8000-000000000000');
  assert.throws(() => eventIdTime('6fa459ea-ee8a-4ca4-894e-db77e160355e'), {
    code: 'EVENT_INVALID',
    message: 'The event id is not a UUIDv7: it holds no time.',
  });
  assert.throws(() => eventIdTime('nonsense'), { code: 'EVENT_INVALID' });
});

test('isUuid takes the text form of any version and nothing else', () => {
  assert.ok(isUuid('6fa459ea-ee8a-4ca4-894e-db77e160355e'));
  assert.ok(isUuid('6FA459EA-EE8A-3CA4-894E-DB77E160355E'));
  for (const other of ['', '6fa459eaee8a4ca4894edb77e160355e', `${newEventId()}\n`, 7, null]) {
    assert.equal(isUuid(other), false);
  }
});
