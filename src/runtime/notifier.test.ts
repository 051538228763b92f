import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decodeHeads, encodeHeads, Notifier } from './notifier.ts';

describe('notices of heads', () => {
  it('say what was put in', () => {
    const head = fc.tuple(fc.nat(1023), fc.maxSafeNat());
    fc.assert(
      fc.property(fc.array(head, { minLength: 1, maxLength: 50 }), (pairs) => {
        const heads = new Map(pairs);
        assert.deepEqual(decodeHeads(encodeHeads(heads)), [...heads]);
      }),
    );
  });

  it('of something else are told apart, and broken ones do no harm', () => {
    assert.equal(decodeHeads('members'), null);
    assert.equal(decodeHeads(''), null);
    assert.deepEqual(decodeHeads('heads '), []);
    assert.deepEqual(decodeHeads('heads 1:2,3'), [[1, 2]]);
    assert.deepEqual(decodeHeads('heads x:2,1:y,4:5:6,7:8'), [[7, 8]]);
    fc.assert(
      fc.property(fc.string(), (text) => {
        for (const pair of decodeHeads(`heads ${text}`) ?? []) {
          assert.ok(pair.length === 2 && pair.every(Number.isSafeInteger));
        }
      }),
    );
  });
});

describe('the notifier', () => {
  function open(send: (notice: string) => Promise<void>, wanted = () => true) {
    const listen = () => Promise.reject(new Error('not here'));
    return new Notifier({ listen, send }, { pauseMs: 0, wanted });
  }

  it('sends one notice for all that came while it was busy', async () => {
    const sent: string[] = [];
    let answer = () => {};
    const notifier = open((notice) => {
      sent.push(notice);
      return new Promise((resolve) => {
        answer = resolve;
      });
    });
    notifier.note(0, 1);
    for (let head = 2; head < 100; head += 1) notifier.note(head % 2, head);
    notifier.note(1, 3);
    answer();
    while (sent.length < 2) await new Promise(setImmediate);
    answer();
    await notifier.flush();
    assert.deepEqual(sent, ['heads 0:1', 'heads 0:98,1:99']);
    assert.equal(notifier.sent, 2);
  });

  it('goes on after a notice that failed', async () => {
    let fail = true;
    const sent: string[] = [];
    const notifier = open(async (notice) => {
      if (fail) throw new Error('lost');
      sent.push(notice);
    });
    notifier.note(0, 1);
    await notifier.flush();
    fail = false;
    notifier.note(0, 2);
    await notifier.flush();
    assert.deepEqual(sent, ['heads 0:2']);
    assert.equal(notifier.failed, 1);
  });

  it('is silent while nobody wants to hear', async () => {
    const sent: string[] = [];
    const notifier = open(
      async (notice) => void sent.push(notice),
      () => false,
    );
    notifier.note(0, 1);
    await notifier.flush();
    assert.deepEqual(sent, []);
  });
});
