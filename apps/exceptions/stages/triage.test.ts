/** Triage: how type, severity, confidence and deadline are found. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type TrialInput, tryException } from '../dry-run.ts';
import { TriageCompleted } from '../events.ts';
import { compilePacks } from '../packs/load.ts';
import { isEvent } from './stage.ts';

const shop = `
domainName: shop
slaMinutes: { LOW: 400, MEDIUM: 300, HIGH: 200, CRITICAL: 100 }
entities:
  Order: { attributes: { total: number, lost: boolean, days: integer } }
exceptionTypes:
  ORDER_FAIL:
    detectionRules: [payload.lost == true]
    slaMinutes: { CRITICAL: 10 }
    severityRules:
      - { condition: payload.total > 100, severity: MEDIUM }
      - { condition: payload.total > 1000, severity: CRITICAL }
  PRICE_MISMATCH: {}
  LATE: {}
  LATE_DELIVERY: {}
severityRules:
  - { condition: payload.days > 30, severity: HIGH }
`;
const acme = `
tenantId: acme
domainName: shop
customSeverityOverrides: [{ exceptionType: 'late*', severity: CRITICAL }]
`;
const packs = compilePacks(
  [{ file: 'shop.yaml', text: shop }],
  [{ file: 'acme.yaml', text: acme }],
);
const timestamp = '2026-03-04T00:00:00.000Z';

async function triage(trial: Omit<TrialInput, 'domain'>) {
  const { events } = await tryException(packs, { domain: 'shop', timestamp, ...trial });
  const event = events.find(({ eventType }) => eventType === 'TriageCompleted');
  assert.ok(event !== undefined && isEvent(TriageCompleted, event));
  const { exception, confidence, evidence } = event.payload;
  const { type, severity, slaDeadline } = exception;
  return { type, severity, slaDeadline, confidence, evidence };
}

describe('triage', () => {
  it('takes the most severe rule that matches, of the type and of the pack', async () => {
    const high = await triage({ exceptionType: 'ORDER_FAIL', payload: { total: 200, days: 40 } });
    assert.equal(high.severity, 'HIGH');
    assert.deepEqual(high.evidence, ['rule shop.yaml:17 payload.days > 30 → HIGH']);
    assert.equal(high.confidence, 0.9);
    const critical = await triage({ exceptionType: 'ORDER_FAIL', payload: { total: 2000 } });
    assert.equal(critical.severity, 'CRITICAL');
  });

  it('lets the override of the tenant win over rules', async () => {
    const own = { exceptionType: 'LATE', payload: { days: 40 }, severity: 'LOW' as const };
    const result = await triage({ tenantId: 'acme', ...own });
    assert.deepEqual([result.severity, result.confidence], ['CRITICAL', 0.9]);
    assert.deepEqual(result.evidence, ['tenant override → CRITICAL']);
    assert.equal((await triage(own)).severity, 'HIGH');
  });

  it('falls back to the reported severity, then the name, then MEDIUM', async () => {
    const of = async (exceptionType: string, severity?: 'LOW') => {
      const result = await triage({ exceptionType, severity, payload: {} });
      return [result.severity, result.confidence];
    };
    assert.deepEqual(await of('ORDER_FAIL', 'LOW'), ['LOW', 0.8]);
    assert.deepEqual(await of('ORDER_FAIL'), ['HIGH', 0.8]);
    assert.deepEqual(await of('PRICE_MISMATCH'), ['LOW', 0.8]);
    assert.deepEqual(await of('LATE'), ['MEDIUM', 0.8]);
  });

  it('infers the type by a detection rule, with less confidence', async () => {
    const hit = await triage({ payload: { lost: true, total: 200 } });
    assert.deepEqual([hit.type, hit.confidence], ['ORDER_FAIL', 0.85]);
    const bare = await triage({ exceptionType: 'NEWS', payload: { lost: true } });
    assert.deepEqual([bare.type, bare.confidence], ['ORDER_FAIL', 0.7]);
    assert.equal(bare.evidence[0], 'type inferred: payload.lost == true');
  });

  it('infers the type from the longest name in the error text', async () => {
    const result = await triage({ payload: { error: 'late delivery by two days' } });
    assert.equal(result.type, 'LATE_DELIVERY');
    assert.equal((await triage({ payload: { errorCode: 'E7 LATE' } })).type, 'LATE');
  });

  it('fails for good without any type, and says what might have been meant', async () => {
    await assert.rejects(triage({ exceptionType: 'ORDER_FIAL', payload: {} }), {
      code: 'PERMANENT_FAILURE',
      message: "'ORDER_FIAL' is not an exception type of pack shop; did you mean 'ORDER_FAIL'?",
    });
    await assert.rejects(triage({ payload: {} }), {
      message: 'no exception type can be found for it in pack shop',
    });
  });

  it('sets the deadline by severity, and an earlier one given wins', async () => {
    const deadline = async (payload: Record<string, unknown>, exceptionType = 'ORDER_FAIL') =>
      (await triage({ exceptionType, payload })).slaDeadline;
    assert.equal(await deadline({ total: 2000 }), '2026-03-04T00:10:00.000Z');
    assert.equal(await deadline({}, 'PRICE_MISMATCH'), '2026-03-04T06:40:00.000Z');
    const given = { slaDeadline: '2026-03-04T01:00:00Z' };
    assert.equal(await deadline(given, 'PRICE_MISMATCH'), '2026-03-04T01:00:00.000Z');
    assert.equal(await deadline({ ...given, total: 2000 }), '2026-03-04T00:10:00.000Z');
  });
});
