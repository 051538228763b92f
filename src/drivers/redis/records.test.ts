import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { code, newJobs } from '../../ports/jobs.fixtures.conformance.ts';
import { chunksOf, parseRecord, recordOf, splitRecords } from './records.ts';

const job = { name: 'a.b', version: 3, optionsJson: null, payloadJson: '{"n":1}' };
const place = { queue: 'q', tenant: 't' };
const textsOf = (chunks: readonly (string | number)[]) => chunks.filter((_, i) => i % 2 === 1);

describe('a record', () => {
  it('comes back as it was, whatever JSON holds', () => {
    const json = fc.json({ stringUnit: 'binary' });
    const options = fc.option(json, { nil: null });
    fc.assert(
      fc.property(json, options, fc.nat(), (payloadJson, optionsJson, version) => {
        const record = { ...job, version, payloadJson, optionsJson };
        assert.deepEqual(parseRecord(recordOf(record)), record);
      }),
    );
  });

  it('is refused when it would run into the next one', () => {
    const payloadJson = '"\u001e"';
    assert.throws(() => recordOf({ ...job, payloadJson }), code('REQUEST_INVALID'));
  });
});

describe('chunks', () => {
  it('hold 64 records at most, in order', () => {
    const jobs = newJobs(place, 150);
    const chunks = chunksOf(jobs);
    assert.deepEqual(
      chunks.filter((_, i) => i % 2 === 0),
      [64, 64, 22],
    );
    const records = textsOf(chunks).flatMap((text) => splitRecords(text as string));
    assert.deepEqual(
      records.map(parseRecord).map(({ payloadJson }) => payloadJson),
      [...jobs.map(({ payloadJson }) => payloadJson)],
    );
  });

  it('are small, but for a record that is not', () => {
    const payloadJson = JSON.stringify('x'.repeat(10_000));
    const large = JSON.stringify('x'.repeat(1_000_000));
    const jobs = [
      ...newJobs(place, 7, { payloadJson }),
      ...newJobs(place, 1, { payloadJson: large }),
    ];
    assert.deepEqual(
      chunksOf(jobs).filter((_, i) => i % 2 === 0),
      [3, 3, 1, 1],
    );
    assert.deepEqual(chunksOf([]), []);
  });
});
