import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Acknowledgements } from './acknowledgements.ts';

const at = { topic: 'a', partition: 0 };

it('acknowledges the longest run that is done, once', () => {
  const line = new Acknowledgements();
  line.open(at);
  for (const offset of [1, 2, 3, 4]) line.add(at, `p${offset}`, offset);
  const done = line.take(() => 2);
  assert.deepEqual(done, [{ ...at, position: 'p2' }]);
  line.confirm(done);
  assert.deepEqual(
    line.take(() => 2),
    [],
  );
  assert.equal(line.waiting, 2);
});

it('tells again what the broker has not confirmed, with what is done by then', () => {
  const line = new Acknowledgements();
  line.open(at);
  for (const offset of [1, 2, 3]) line.add(at, `p${offset}`, offset);
  line.take(() => 1);
  assert.deepEqual(
    line.take(() => 1),
    [{ ...at, position: 'p1' }],
  );
  const more = line.take(() => 3);
  assert.deepEqual(more, [{ ...at, position: 'p3' }]);
});

it('waits for a refusal to be durable, and for what lies behind it', () => {
  const line = new Acknowledgements();
  line.open(at);
  line.add(at, 'p1', 1);
  const durable = line.hold(at, 'p2');
  line.add(at, 'p3', 2);
  line.confirm(line.take(() => 9));
  assert.equal(line.waiting, 2);
  durable();
  assert.deepEqual(
    line.take(() => 9),
    [{ ...at, position: 'p3' }],
  );
});

it('takes duplicates as done when their offset is', () => {
  const line = new Acknowledgements();
  line.open(at);
  line.add(at, 'p1', 7);
  line.add(at, 'p2', 5);
  assert.deepEqual(
    line.take(() => 6),
    [],
  );
  assert.deepEqual(
    line.take(() => 7),
    [{ ...at, position: 'p2' }],
  );
});

it('says nothing of what was taken away', () => {
  const line = new Acknowledgements();
  line.open(at);
  line.add(at, 'p1', 1);
  line.close(at);
  line.add(at, 'p2', 2);
  assert.deepEqual(
    line.take(() => 9),
    [],
  );
  line.open(at);
  assert.equal(line.waiting, 0);
});

it('has something to tell until it is done and the broker has confirmed it', () => {
  const line = new Acknowledgements();
  line.open(at);
  assert.equal(line.pending, false);
  line.add(at, 'p1', 1);
  assert.equal(line.pending, true);
  const done = line.take(() => 1);
  assert.equal(line.waiting, 0);
  assert.equal(line.pending, true, 'the broker may not have heard it');
  line.confirm(done);
  assert.equal(line.pending, false);
});
