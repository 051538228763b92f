/** What a scope is made of: overrides, guardrails, playbook order, rollback tools, templates. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { severityOfName } from './compile.ts';
import type { Scope } from './compiled.ts';
import { compilePacks } from './load.ts';
import { nearestName } from './suggest.ts';
import { compileWildcard } from './wildcard.ts';

function scopeOf(domain: string, policy = '', tenantId = 'acme'): Scope {
  const packs = compilePacks(
    [{ file: 'shop.yaml', text: `domainName: shop\n${domain}` }],
    [{ file: 'acme.yaml', text: `tenantId: acme\ndomainName: shop\n${policy}` }],
  );
  return packs.requireScope(tenantId, 'shop');
}

const types = 'exceptionTypes: { ORDER_FAIL: { tags: [order] }, STOCK_LOW: {} }';

describe('scopes', () => {
  it('keep the guardrails of the domain that the tenant does not change', () => {
    const domain = `${types}\nguardrails: { blockLists: [wipe], humanApprovalThreshold: 0.9 }`;
    const scope = scopeOf(domain, 'customGuardrails: { humanApprovalThreshold: 0.7 }');
    assert.deepEqual(scope.guardrails.blockLists, ['wipe']);
    assert.equal(scope.thresholdPercent, 70);
    assert.equal(scope.escalateBelowPercent, 60);
    assert.equal(scopeOf(domain, '', 'other').thresholdPercent, 90);
  });

  it('allow no tool to a tenant without a policy, except global ones', () => {
    const domain = `${types}\ntools: { pay: {}, tell: { tenantScope: global } }`;
    const own = scopeOf(domain, 'approvedTools: [pay]');
    const other = scopeOf(domain, '', 'other');
    assert.equal(own.tools.get('pay')?.allowed, true);
    assert.equal(other.tools.get('pay')?.refusal, 'is not approved for tenant *');
    assert.equal(other.tools.get('tell')?.allowed, true);
  });

  it('apply the overrides of tools, and never more retries than the guardrail', () => {
    const scope = scopeOf(
      `${types}\nguardrails: { maxAutoRetries: 1 }\ntools: { pay: { timeoutSeconds: 5 } }`,
      'toolOverrides: { pay: { timeoutSeconds: 2, maxRetries: 4 } }',
    );
    const tool = scope.tools.get('pay');
    assert.equal(tool?.timeoutMs, 2_000);
    assert.equal(tool?.maxRetries, 1);
  });

  it('find the rollback that shares a word, or the declared one, if it is allowed', () => {
    const domain = `${types}
tools:
  send_order: {}
  undo_invoice: {}
  revertSendOrder: {}
  charge: { rollback: refund }
  refund: {}`;
    const scope = scopeOf(domain, 'approvedTools: [revertSendOrder, undo_invoice]');
    assert.equal(scope.tools.get('send_order')?.rollback, 'revertSendOrder');
    assert.equal(scope.tools.get('charge')?.rollback, null);
    assert.equal(scope.tools.get('revertSendOrder')?.rollback, null);
    const bare = scopeOf(domain, 'approvedTools: [undo_invoice, refund]');
    assert.equal(bare.tools.get('send_order')?.rollback, null);
    assert.equal(bare.tools.get('charge')?.rollback, 'refund');
  });

  it('order playbooks by priority, then the newest, the tenant after the domain', () => {
    const step = 'steps: [{ action: notify }]';
    const scope = scopeOf(
      `${types}
playbooks:
  - { id: a, exceptionType: 'order_*', ${step} }
  - { id: b, conditions: { match: { exceptionTypes: [ORDER_?AIL, STOCK_LOW] } }, ${step} }
  - { id: c, conditions: { match: { policyTags: [order, vip] }, priority: 9 }, ${step} }
  - { id: d, conditions: { match: { domain: 'cinema*' }, priority: 99 }, ${step} }`,
      `policyTags: [vip]\ncustomPlaybooks: [{ id: e, exceptionType: '*', ${step} }]`,
    );
    const ids = (type: string) => scope.types.get(type)?.playbooks.map(({ id }) => id);
    assert.deepEqual(ids('ORDER_FAIL'), ['c', 'e', 'b', 'a']);
    assert.deepEqual(ids('STOCK_LOW'), ['e', 'b']);
  });

  it('keep the payload fields that rules and templates read, and no others', () => {
    const scope = scopeOf(`
entities: { Order: { attributes: { orderId: string, total: number, colour: string } } }
exceptionTypes:
  ORDER_FAIL: { severityRules: [{ condition: payload.total > 5, severity: HIGH }] }
playbooks:
  - id: a
    steps: [{ action: notify, parameters: { subject: 'Order {exception.orderId}' } }]`);
    assert.deepEqual(
      scope.retained.map(({ name, type }) => `${name}: ${type}`),
      ['total: number', 'orderId: string'],
    );
  });

  it('render placeholders, alone with their type', () => {
    const scope = scopeOf(`${types}
tools: { pay: {} }
playbooks:
  - id: a
    steps:
      - action: call_tool
        parameters:
          tool_id: pay
          payload:
            amount: '{exception.amount}'
            who: '{exception.entity}'
            n: [1, '{exception.severity}']
      - action: add_comment
        parameters:
          text: '{policy_pack.tenantId}: {domain_pack.domainName} {exception.missing}'`);
    const steps = scope.playbooks.get('a')?.steps ?? [];
    const exception = {
      exceptionId: 'e',
      source: 's',
      domain: 'shop',
      type: 'ORDER_FAIL',
      severity: 'HIGH' as const,
      occurredAt: '',
      ingestedAt: '',
      slaDeadline: null,
      amount: 12.5,
      entity: null,
      context: {},
    };
    const input = { tenantId: 'acme', exception };
    assert.deepEqual(steps[0]?.render(input), { amount: 12.5, who: null, n: [1, 'HIGH'] });
    assert.deepEqual(steps[1]?.render(input), { text: 'acme: shop n/a' });
  });

  it('change the plan when a step changes', () => {
    const plan = (subject: string) => {
      const step = `{ action: notify, parameters: { subject: ${subject} } }`;
      const scope = scopeOf(`${types}\nplaybooks: [{ id: a, steps: [${step}] }]`);
      return scope.playbooks.get('a')?.plan;
    };
    assert.equal(plan('x'), plan('x'));
    assert.notEqual(plan('x'), plan('y'));
  });
});

describe('names', () => {
  it('suggest a severity', () => {
    assert.deepEqual(
      ['CASH_BREAK', 'ORDER_FAIL', 'PRICE_MISMATCH', 'STOCK_LOW', 'LATE'].map(severityOfName),
      ['CRITICAL', 'HIGH', 'LOW', 'LOW', null],
    );
  });

  it('match wildcards without regard to case, and dots as dots', () => {
    assert.equal(compileWildcard('order_*')('ORDER_FAIL'), true);
    assert.equal(compileWildcard('a?c')('abc'), true);
    assert.equal(compileWildcard('a.c')('abc'), false);
    assert.equal(compileWildcard('*.example.org')('example.org'), false);
    assert.equal(compileWildcard('*.example.org')('evil-example.org'), false);
  });

  it('are guessed when nearly right', () => {
    assert.equal(nearestName('playboks', ['playbooks', 'tools']), 'playbooks');
    assert.equal(nearestName('HIHG', ['HIGH', 'LOW']), 'HIGH');
    assert.equal(nearestName('xyz', ['playbooks', 'tools']), undefined);
  });
});
