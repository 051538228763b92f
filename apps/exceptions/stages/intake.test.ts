/** Intake: the common form, whatever the source called things. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { dryRun } from '../dry-run.ts';
import { ExceptionIngested, ExceptionNormalized, ManualExceptionCreated } from '../events.ts';
import { compilePacks } from '../packs/load.ts';
import { createIntake, normalizeType } from './intake.ts';
import { isEvent, type PayloadOf } from './stage.ts';

const shop = `
domainName: shop
entityFields: [orderId]
amountFields: [total, amount]
entities:
  Order:
    attributes: { orderId: string, total: number, amount: number, express: boolean, parts: list }
exceptionTypes:
  ORDER_FAIL:
    severityRules: [{ condition: payload.total > 5 || payload.express, severity: HIGH }]
  CUSTOM_Case: { detectionRules: ['size(payload.parts) > 0'] }
`;
const packs = compilePacks([{ file: 'shop.yaml', text: shop }], []);
const cinema = 'domainName: cinema\nexceptionTypes: { SEAT_TAKEN: {} }';
const twoPacks = compilePacks(
  [
    { file: 'shop.yaml', text: shop },
    { file: 'cinema.yaml', text: cinema },
  ],
  [],
);
const timestamp = '2026-03-04T05:06:07.000Z';

type Ingested = PayloadOf<typeof ExceptionIngested>;

async function normalize(rawPayload: Record<string, unknown>, envelope: Partial<Ingested> = {}) {
  const payload = { exceptionId: 'e-1', ...envelope, rawPayload };
  const { events } = await dryRun([createIntake(packs)], ExceptionIngested, {
    tenantId: 'acme',
    payload,
    timestamp,
  });
  const [, event] = events;
  assert.ok(event !== undefined && isEvent(ExceptionNormalized, event));
  return event.payload;
}

describe('intake', () => {
  it('takes type and severity from the envelope before the payload', async () => {
    const result = await normalize(
      { exceptionType: 'OTHER', severity: 'low' },
      { exceptionType: 'ORDER_FAIL', severity: 'HIGH' },
    );
    assert.equal(result.reportedType, 'ORDER_FAIL');
    assert.equal(result.reportedSeverity, 'HIGH');
    assert.equal((await normalize({ severity: 'low' })).reportedSeverity, 'LOW');
  });

  it('strips leading colons and upper-cases names that are all lower', () => {
    assert.equal(normalizeType('::order_fail '), 'ORDER_FAIL');
    assert.equal(normalizeType('CUSTOM_Case'), 'CUSTOM_Case');
    assert.equal(normalizeType(' : '), null);
    assert.equal(normalizeType(undefined), null);
  });

  it('is sure with a known type, less without, least with an unknown one', async () => {
    assert.equal((await normalize({ type: 'order_fail' })).confidence, 1);
    assert.equal((await normalize({})).confidence, 0.8);
    const unknown = await normalize({ type: 'SHIPWRECK' });
    assert.equal(unknown.confidence, 0.5);
    assert.deepEqual(unknown.evidence, ['type SHIPWRECK is not in pack shop']);
  });

  it('finds the time under six names and in three forms, else takes the event time', async () => {
    const at = async (raw: Record<string, unknown>) => (await normalize(raw)).exception.occurredAt;
    const expected = '2026-01-02T03:04:05.000Z';
    for (const name of [
      'timestamp',
      'occurredAt',
      'eventTime',
      'createdAt',
      'detectedAt',
      'time',
    ]) {
      assert.equal(await at({ [name]: '2026-01-02T03:04:05Z' }), expected);
    }
    assert.equal(await at({ timestamp: '2026-01-02 03:04:05' }), expected, 'no zone is UTC');
    assert.equal(await at({ timestamp: '2026-01-02T05:04:05+02:00' }), expected);
    assert.equal(await at({ timestamp: 1_767_323_045 }), expected, 'seconds');
    assert.equal(await at({ timestamp: 1_767_323_045_000 }), expected, 'milliseconds');
    assert.equal(await at({}), timestamp);
  });

  it('sets a deadline always, and keeps one that came with the exception', async () => {
    assert.equal((await normalize({})).exception.slaDeadline, '2026-03-05T05:06:07.000Z');
    const given = await normalize({ sla_deadline: '2026-03-04T06:00:00Z' });
    assert.equal(given.exception.slaDeadline, '2026-03-04T06:00:00.000Z');
    assert.equal(given.reportedDeadline, '2026-03-04T06:00:00.000Z');
  });

  it('keeps the payload fields that the pack reads, as the pack types them', async () => {
    const { exception } = await normalize({
      orderId: 'O-7',
      total: '1,250.75',
      express: 'true',
      parts: [1, 2],
      colour: 'red',
    });
    assert.deepEqual(exception.context, { total: 1250.75, express: true, parts: '[1,2]' });
    assert.equal(exception.amount, 1250.75);
    assert.equal(exception.entity, 'O-7');
    assert.equal(exception.source, 'UNKNOWN');
  });

  it('refuses what nobody can make sense of, for good and with the reason', async () => {
    for (const [raw, envelope, message] of [
      [{ timestamp: '31.02.2026 noon' }, {}, /the timestamp "31\.02\.2026 noon" is not a date/],
      [{ total: 'a lot' }, {}, /total is "a lot", which is not an amount/],
      [{ total: '12,34' }, {}, /total is "12,34"/],
      [{ tenantId: 'other' }, {}, /belongs to tenant 'other', but the event to 'acme'/],
      [{}, { tenantId: 'other' }, /belongs to tenant 'other'/],
      [{}, { domain: 'shpo' }, /there is no domain pack 'shpo'; did you mean 'shop'\?/],
    ] as const) {
      await assert.rejects(normalize(raw, envelope), { code: 'PERMANENT_FAILURE', message });
    }
  });

  it('needs the domain to be named when there are several', async () => {
    const input = { tenantId: 'acme', payload: { exceptionId: 'e', rawPayload: {} } };
    await assert.rejects(dryRun([createIntake(twoPacks)], ExceptionIngested, input), {
      message: "the exception names no domain; give one of cinema, shop as 'domain'",
    });
  });

  it('treats an exception entered by hand alike', async () => {
    const { events } = await dryRun([createIntake(packs)], ManualExceptionCreated, {
      tenantId: 'acme',
      payload: { exceptionId: 'e', createdBy: 'ada', rawPayload: { type: 'ORDER_FAIL' } },
    });
    assert.equal(events[1]?.eventType, 'ExceptionNormalized');
  });

  it('gives the same answer for the same event, whenever it is asked', async () => {
    const raw = { type: 'order_fail', total: 3 };
    assert.deepEqual((await normalize(raw)).exception, (await normalize(raw)).exception);
  });
});
