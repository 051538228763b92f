/** Conditions: what they may say, and that missing or odd data never makes them fail. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createExpressionCompiler } from './expression.ts';

const compile = createExpressionCompiler(
  new Map([
    ['total', 'number'],
    ['days', 'integer'],
    ['code', 'string'],
    ['open', 'boolean'],
    ['tags', 'list'],
  ]),
);
const exception = { type: 'ORDER_FAIL', amount: 12.5, entity: null, domain: 'shop' };

function matches(text: string, payload: object): boolean {
  const result = compile(text);
  assert.ok(result.ok, result.ok ? '' : result.message);
  return result.expression.matches({ exception, payload });
}

describe('conditions', () => {
  it('compare numbers with whole and broken literals', () => {
    assert.equal(matches('payload.total > 10', { total: 10.5 }), true);
    assert.equal(matches('payload.total > 10.0', { total: 9 }), false);
    assert.equal(matches('payload.days == 3', { days: 3 }), true);
    assert.equal(matches('3 == payload.days', { days: 3 }), true);
    assert.equal(matches('payload.days != 3', { days: 3 }), false);
    assert.equal(matches('payload.days in [1, 3]', { days: 3 }), true);
    assert.equal(matches('payload.total * 2 - 1 >= 4', { total: 2.5 }), true);
    assert.equal(matches('payload.days % 2 == 1', { days: 3 }), true);
  });

  it('put && before || and know booleans, which the original did not', () => {
    const text = 'payload.open || payload.days > 5 && payload.total > 5';
    assert.equal(matches(text, { open: true, days: 0, total: 0 }), true);
    assert.equal(matches(text, { open: false, days: 9, total: 9 }), true);
    assert.equal(matches(text, { open: false, days: 9, total: 0 }), false);
    assert.equal(matches('payload.open == true', { open: true }), true);
    assert.equal(matches('payload.open', { open: true }), true);
  });

  it('read the exception itself', () => {
    assert.equal(matches('exception.amount > 10 && exception.type == "ORDER_FAIL"', {}), true);
    assert.equal(matches('exception.entity == null', {}), true);
    assert.equal(matches('exception.entity > 3', {}), false);
  });

  it('are false, not an error, when a field is missing or of another type', () => {
    assert.equal(matches('payload.total > 10', {}), false);
    assert.equal(matches('payload.total > 10', { total: null }), false);
    assert.equal(matches('payload.total > 10', { total: 'much' }), false);
    assert.equal(matches('payload.code.startsWith("A")', { code: 7 }), false);
    assert.equal(matches('payload.total > 1 && payload.days > 1', { total: 2 }), false);
    assert.equal(matches('payload.total > 1 || payload.days > 1', { days: 2 }), true);
    assert.equal(matches('!(payload.total > 1)', {}), false);
    assert.equal(matches('has(payload.total) && payload.total > 1', {}), false);
  });

  it('know lists and texts', () => {
    assert.equal(matches('payload.code in ["A", "B"]', { code: 'B' }), true);
    assert.equal(matches('"x" in payload.tags', { tags: ['x'] }), true);
    assert.equal(matches('payload.code.matches("^[A-C]+$")', { code: 'ABC' }), true);
  });

  it('tell which fields they read', () => {
    const result = compile('payload.total > 1 && (has(payload.code) || payload["days"] > 2)');
    assert.ok(result.ok);
    assert.deepEqual([...result.expression.payloadFields].sort(), ['code', 'days', 'total']);
  });

  it('refuse unknown variables, functions and members', () => {
    for (const [text, message] of [
      ['order.total > 1', /Unknown variable: order/],
      ['exception.amont > 1', /'exception\.amont' is not a declared field; did you mean 'amount'/],
      ['payload.colour == "red"', /'payload\.colour' is not a declared field/],
      ['shout(payload.code)', /found no matching overload for 'shout/],
      ['payload.total >', /Unexpected token/],
    ] as const) {
      const result = compile(text);
      assert.ok(!result.ok);
      assert.match(result.message, message);
    }
  });
});
