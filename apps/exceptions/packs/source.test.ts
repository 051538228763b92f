/** Complaints about packs name file, line, column and field, and guess what was meant. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MillraceError } from 'millrace';
import { compilePacks, loadPacks } from './load.ts';

const head = ['domainName: shop', 'exceptionTypes:', '  ORDER_FAIL: {}'];

function complaint(domain: readonly string[], policy?: readonly string[]): MillraceError {
  const files = [{ file: 'shop.yaml', text: domain.join('\n') }];
  const policies = policy === undefined ? [] : [{ file: 'acme.yaml', text: policy.join('\n') }];
  try {
    compilePacks(files, policies);
  } catch (error) {
    assert.ok(error instanceof MillraceError, String(error));
    return error;
  }
  assert.fail('the packs should not load');
}

describe('errors of packs', () => {
  it('names an unknown field and the one that was meant', () => {
    const error = complaint([...head, 'guardrials:', '  blockLists: []']);
    assert.equal(error.code, 'PACK_INVALID');
    assert.equal(
      error.message,
      "shop.yaml:4:1 guardrials: is not a known field; did you mean 'guardrails'?",
    );
  });

  it('names a misspelt field deep inside', () => {
    const error = complaint([...head, 'guardrails:', '  humanAprovalThreshold: 0.7']);
    assert.equal(
      error.message,
      'shop.yaml:5:3 guardrails.humanAprovalThreshold: is not a known field; ' +
        "did you mean 'humanApprovalThreshold'?",
    );
  });

  it('names a value that is not allowed', () => {
    const error = complaint([
      'domainName: shop',
      'exceptionTypes:',
      '  ORDER_FAIL:',
      '    severityRules:',
      '      - condition: payload.total > 3',
      '        severity: HIHG',
    ]);
    assert.equal(
      error.message,
      'shop.yaml:6:9 exceptionTypes.ORDER_FAIL.severityRules[0].severity: "HIHG" is not one of ' +
        "LOW, MEDIUM, HIGH, CRITICAL; did you mean 'HIGH'?",
    );
  });

  it('names what is missing, and reports every complaint of the file at once', () => {
    const error = complaint(['exceptionTypes: {}', 'version: 2']);
    assert.equal(
      error.message,
      'shop.yaml:1:1 domainName: is required and must be a string\n' +
        'shop.yaml:2:1 version: 2 is not a string',
    );
  });

  it('names the line of a YAML error', () => {
    const error = complaint(['domainName: shop', 'exceptionTypes: [}']);
    assert.match(error.message, /^shop\.yaml:2:18 \(yaml\): /);
  });

  it('names the line of a condition that is no CEL', () => {
    const error = complaint([
      ...head,
      'severityRules:',
      '  - condition: exception.amount >',
      '    severity: HIGH',
    ]);
    assert.equal(error.code, 'EXPRESSION_INVALID');
    assert.equal(
      error.message,
      'shop.yaml:5:5 severityRules[0].condition: Unexpected token: EOF (at character 19)',
    );
  });

  it('names a payload field that no entity declares', () => {
    const error = complaint([
      ...head,
      'entities: { Order: { attributes: { total: number } } }',
      'severityRules:',
      '  - { condition: payload.totl > 3, severity: HIGH }',
    ]);
    assert.equal(
      error.message,
      "shop.yaml:6:7 severityRules[0].condition: 'payload.totl' is not a declared field; " +
        "did you mean 'total'?",
    );
  });

  it('names types that do not go together', () => {
    const error = complaint([
      ...head,
      'entities: { Order: { attributes: { total: number } } }',
      'severityRules:',
      '  - { condition: payload.total > "3", severity: HIGH }',
    ]);
    assert.match(error.message, /^shop\.yaml:6:7 severityRules\[0\]\.condition: .*double.*string/);
  });

  it('names a condition that is no yes or no', () => {
    const error = complaint([
      ...head,
      'entities: { Order: { attributes: { total: number } } }',
      'severityRules: [{ condition: payload.total + 1.0, severity: HIGH }]',
    ]);
    assert.match(error.message, /gives a double, but a condition must be true or false$/);
  });

  it('names a tool, an exception type, a status and a placeholder that do not exist', () => {
    const error = complaint([
      ...head,
      'entities: { Order: { attributes: { orderId: string } } }',
      'tools: { refund_order: {} }',
      'playbooks:',
      '  - id: a',
      '    exceptionType: ORDER_FALI',
      '    steps:',
      '      - { action: call_tool, parameters: { tool_id: refund_ordr } }',
      '      - { action: set_status, parameters: { status: CLOSED } }',
      '      - { action: notify, parameters: { subject: "{exception.ordrId}" } }',
      '      - { action: assign_owner, parameters: {} }',
    ]);
    assert.deepEqual(error.message.split('\n'), [
      "shop.yaml:10:44 playbooks[0].steps[0].parameters.tool_id: 'refund_ordr' is not a tool of " +
        "the domain; did you mean 'refund_order'?",
      'shop.yaml:11:45 playbooks[0].steps[1].parameters.status: "CLOSED" is not one of OPEN, ' +
        'IN_PROGRESS, RESOLVED, ESCALATED, PENDING_APPROVAL',
      'shop.yaml:12:27 playbooks[0].steps[2].parameters: {exception.ordrId} is not a declared ' +
        "field; did you mean 'orderId'?",
      'shop.yaml:13:33 playbooks[0].steps[3].parameters: assign_owner needs user_id or queue',
      "shop.yaml:8:5 playbooks[0].exceptionType: 'ORDER_FALI' fits no exception type of the " +
        "domain; did you mean 'ORDER_FAIL'?",
      'shop.yaml:11:45 playbooks[0].steps[1].parameters.status: the last set_status of a ' +
        'playbook must be RESOLVED or ESCALATED',
    ]);
  });

  it('names what a policy gets wrong about its domain', () => {
    const error = complaint(
      [...head, 'tools: { refund_order: {} }'],
      ['tenantId: acme', 'domainName: shop', 'approvedTools:', '  - refund', '  - refund_orders'],
    );
    assert.match(error.message, /^acme\.yaml:4:5 approvedTools\[0\]: 'refund' is not a tool/);
    assert.match(error.message, /acme\.yaml:5:5 .*; did you mean 'refund_order'\?$/);
  });

  it('names a policy of a domain that does not exist, and a second one of a tenant', () => {
    const error = complaint(head, ['tenantId: acme', 'domainName: shp']);
    assert.equal(
      error.message,
      "acme.yaml:2:1 domainName: there is no domain pack 'shp'; did you mean 'shop'?",
    );
  });

  it('refuses a network tool without an address, or with plain http', () => {
    const error = complaint([
      ...head,
      'tools:',
      '  ping: { executionMode: http }',
      '  pong: { executionMode: webhook, endpoint: "http://hooks.example.org/x" }',
    ]);
    assert.match(error.message, /^shop\.yaml:5:3 tools\.ping: executionMode http needs/);
    assert.match(error.message, /shop\.yaml:6:\d+ tools\.pong\.endpoint: .* is not https/);
  });

  it('says that a directory holds no packs', () => {
    assert.throws(() => loadPacks('/nowhere/at/all'), {
      code: 'PACK_INVALID',
      message: 'no packs in /nowhere/at/all/domains',
    });
  });
});
