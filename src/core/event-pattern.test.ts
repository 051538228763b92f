import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { prepareEvent } from './event.ts';
import { createTypeSet, eventsLike, isTypePattern } from './event-pattern.ts';

describe('a set of event types', () => {
  it('is a plain Set when there are names only', () => {
    assert.ok(createTypeSet(['a', 'b.c']) instanceof Set);
    assert.equal(isTypePattern('domain.a_b'), false);
    assert.equal(isTypePattern('domain.*'), true);
  });

  it('takes * for any text and everything else for itself', () => {
    const set = createTypeSet(['Plain', 'domain.*.payment_made', 'x.y*']);
    const wanted = ['Plain', 'domain.shop.payment_made', 'domain.a.b.payment_made', 'x.y', 'x.yz'];
    const others = ['plain', 'Plain2', 'domain.shop.paymentXmade', 'xay', 'domain.payment_made'];
    // Twice: the second answer is a remembered one.
    for (const type of [...wanted, ...wanted]) assert.equal(set.has(type), true, type);
    for (const type of [...others, ...others]) assert.equal(set.has(type), false, type);
  });

  it('goes on answering rightly when it has seen more types than it remembers', () => {
    const set = createTypeSet(['even.*']);
    for (let n = 0; n < 20_001; n += 1) {
      const type = `${n % 2 === 0 ? 'even' : 'odd'}.${n}`;
      assert.equal(set.has(type), n % 2 === 0);
    }
    assert.equal(set.has('even.0'), true);
  });

  it('cannot be published', () => {
    const publish = () => prepareEvent(eventsLike('domain.*'), { tenantId: 't', payload: {} });
    assert.throws(publish, { code: 'EVENT_INVALID', message: /for subscriptions only/ });
  });
});
