/** Policy: what may be done, and by whom it must be agreed. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compilePacks } from '../packs/load.ts';
import type { ExceptionSnapshot, Severity } from '../vocabulary.ts';
import { evaluatePolicy } from './policy.ts';

const now = '2026-03-04T00:00:00.000Z';

const exception = (severity: Severity, type = 'ORDER_FAIL'): ExceptionSnapshot => ({
  exceptionId: 'e',
  source: 's',
  domain: 'shop',
  type,
  severity,
  occurredAt: now,
  ingestedAt: now,
  slaDeadline: '2026-03-04T01:00:00.000Z',
  amount: null,
  entity: null,
  context: { total: 7 },
});

const domain = `
domainName: shop
entities: { Order: { attributes: { total: number } } }
exceptionTypes: { ORDER_FAIL: {}, STOCK: {}, OTHER: {}, HAND: {} }
tools: { pay: {}, wipe_disk: {} }
playbooks:
  - id: pay-it
    exceptionType: ORDER_FAIL
    steps: [{ action: call_tool, parameters: { tool_id: pay } }]
  - id: wipe-it
    exceptionType: STOCK
    steps: [{ action: call_tool, parameters: { tool_id: wipe_disk } }]
  - { id: draft, exceptionType: HAND, approved: false, steps: [{ action: notify }] }
`;
const approvesTools = 'tenantId: acme\ndomainName: shop\napprovedTools: [pay, wipe_disk]\n';

function evaluate(
  policy: string,
  { severity = 'HIGH', type = 'ORDER_FAIL', confidence = 0.9, extra = '' } = {},
) {
  const packs = compilePacks(
    [{ file: 'shop.yaml', text: domain + extra }],
    [{ file: 'acme.yaml', text: policy }],
  );
  const scope = packs.requireScope('acme', 'shop');
  return evaluatePolicy(scope, exception(severity as Severity, type), confidence, now);
}

describe('policy', () => {
  it('approves an approved process with allowed tools', () => {
    const answer = evaluate(approvesTools);
    assert.equal(answer.decision, 'APPROVED');
    assert.equal(answer.actionability, 'ACTIONABLE_APPROVED_PROCESS');
    assert.equal(answer.playbook?.id, 'pay-it');
  });

  it('asks a person at CRITICAL, and no rule of the tenant lifts that', () => {
    const rule = 'humanApprovalRules: [{ severity: CRITICAL, requireApproval: false }]';
    const answer = evaluate(approvesTools + rule, { severity: 'CRITICAL' });
    assert.equal(answer.decision, 'APPROVED_WITH_HUMAN');
    assert.deepEqual(answer.approvalReasons, ['severity is CRITICAL']);
  });

  it('asks a person where the tenant has a rule for the severity', () => {
    const rule = 'humanApprovalRules: [{ severity: HIGH, requireApproval: true }]';
    assert.equal(evaluate(approvesTools + rule).decision, 'APPROVED_WITH_HUMAN');
    assert.equal(evaluate(approvesTools + rule, { severity: 'LOW' }).decision, 'APPROVED');
  });

  it('asks a person below the threshold, and escalates a tenth below that', () => {
    const at = (confidence: number) => evaluate(approvesTools, { confidence }).decision;
    assert.equal(at(0.8), 'APPROVED');
    assert.equal(at(0.79), 'APPROVED_WITH_HUMAN');
    assert.equal(at(0.7), 'APPROVED_WITH_HUMAN', '0.8 - 0.1 is more than 0.7 in floating point');
    assert.equal(at(0.69), 'ESCALATE');
  });

  it('escalates earlier when a guardrail says so', () => {
    const guardrail = 'customGuardrails: { escalateIfConfidenceBelow: 0.75 }';
    const answer = evaluate(approvesTools + guardrail, { confidence: 0.74 });
    assert.equal(answer.decision, 'ESCALATE');
    assert.deepEqual(answer.evidence, ['confidence 0.74 is below 0.75']);
  });

  it('escalates what no playbook fits, as information only', () => {
    const answer = evaluate(approvesTools, { type: 'OTHER' });
    assert.equal(answer.decision, 'ESCALATE');
    assert.equal(answer.actionability, 'NON_ACTIONABLE_INFO_ONLY');
  });

  it('asks a person for a tool that the tenant has not approved', () => {
    const answer = evaluate('tenantId: acme\ndomainName: shop\n');
    assert.equal(answer.decision, 'APPROVED_WITH_HUMAN');
    assert.equal(answer.actionability, 'ACTIONABLE_NON_APPROVED_PROCESS');
    assert.deepEqual(answer.approvalReasons, ['tool pay: is not approved for tenant acme']);
  });

  it('asks a person for a playbook that is not approved, unless a guardrail permits it', () => {
    assert.equal(evaluate(approvesTools, { type: 'HAND' }).decision, 'APPROVED_WITH_HUMAN');
    const permit = 'customGuardrails: { autoActionAllowedOnlyForApprovedPlaybooks: false }';
    assert.equal(evaluate(approvesTools + permit, { type: 'HAND' }).decision, 'APPROVED');
  });

  it('blocks a playbook with a forbidden tool, whatever else holds', () => {
    const extra = "guardrails: { blockLists: ['wipe_*'] }";
    const answer = evaluate(approvesTools, { type: 'STOCK', extra, confidence: 0.1 });
    assert.equal(answer.decision, 'BLOCKED');
    assert.deepEqual(answer.violations, ['tool wipe_disk is on the block list']);
    const listed = evaluate(`${approvesTools}customGuardrails: { allowLists: [other] }`);
    assert.deepEqual(listed.violations, ['tool pay is not on the allow list']);
  });

  it('knows the guardrails of the health sample', () => {
    const severity = 'customGuardrails: { noAutoActionIfSeverityIn: [HIGH] }';
    assert.deepEqual(evaluate(approvesTools + severity).approvalReasons, [
      'no automatic action at HIGH',
    ]);
    for (const name of ['ORDER_*', 'pay', 'pay-it']) {
      const approval = `customGuardrails: { requireHumanApprovalFor: ['${name}'] }`;
      assert.equal(evaluate(approvesTools + approval).decision, 'APPROVED_WITH_HUMAN', name);
    }
  });

  it('matches playbooks by severity, time left and condition, best priority first', () => {
    const step = 'steps: [{ action: notify }]';
    const custom = (match: string) => {
      const playbook = `{ id: own, conditions: { ${match}, priority: 5 }, ${step} }`;
      return evaluate(`${approvesTools}customPlaybooks: [${playbook}]`).playbook?.id;
    };
    assert.equal(custom('match: { severity: HIGH }'), 'own');
    assert.equal(custom('match: { severityIn: [LOW, MEDIUM] }'), 'pay-it');
    assert.equal(custom('match: { slaMinutesRemainingLt: 61 }'), 'own');
    assert.equal(custom('match: { slaMinutesRemainingLt: 60 }'), 'pay-it');
    assert.equal(custom('when: payload.total == 7'), 'own');
    assert.equal(custom('when: payload.total > 7'), 'pay-it');
  });
});
