import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MillraceError } from '../../../core/errors.ts';
import type { BrokerToken } from '../../../ports/broker.ts';
import { mskTokens } from './msk-iam.ts';
import { createTokenSource } from './tokens.ts';

function counting(answer: (count: number) => BrokerToken | Promise<BrokerToken>) {
  const ask = { count: 0, now: 1000 };
  const source = createTokenSource(
    async () => {
      ask.count += 1;
      return answer(ask.count);
    },
    () => ask.now,
  );
  return { ask, source };
}

describe('tokens', () => {
  it('are asked for anew when three quarters of their life are over', async () => {
    const { ask, source } = counting((n) => ({ token: `t${n}`, expiresAt: 1000 + n * 400 }));
    assert.equal(source.last, null);
    assert.equal(await source.get(), 't1');
    ask.now = 1299;
    assert.equal(await source.get(), 't1');
    ask.now = 1300;
    assert.equal(await source.get(), 't2');
    assert.equal(source.last, 't2');
    assert.equal(ask.count, 2);
  });

  it('ran out when they lived and do not any more', async () => {
    const { ask, source } = counting((n) => ({ token: `t${n}`, expiresAt: n < 3 ? n * 1400 : 0 }));
    assert.equal(source.ranOut, false);
    await source.get();
    assert.equal(source.ranOut, false);
    ask.now = 1400;
    assert.equal(source.ranOut, true);
    await source.get();
    assert.equal(source.ranOut, false);
    ask.now = 2800;
    await source.get(); // over from the beginning
    assert.equal(source.ranOut, false);
  });

  it('are asked for once, however many connections wait', async () => {
    const { ask, source } = counting((n) => ({ token: `t${n}`, expiresAt: 2000 }));
    const all = await Promise.all(Array.from({ length: 50 }, () => source.get()));
    assert.deepEqual(new Set(all), new Set(['t1']));
    assert.equal(ask.count, 1);
  });

  it('serve on when the source fails, as long as they live', async () => {
    const { ask, source } = counting((n) => {
      if (n === 2 || n === 3) throw new Error('away');
      return { token: `t${n}`, expiresAt: 1000 + n * 400 };
    });
    await source.get();
    ask.now = 1350;
    assert.equal(await source.get(), 't1');
    ask.now = 1400;
    await assert.rejects(source.get(), (error) => {
      assert.ok(error instanceof MillraceError);
      assert.equal(error.code, 'BROKER_UNAVAILABLE');
      assert.ok(error.retryable);
      assert.equal((error.cause as Error).message, 'away');
      return true;
    });
    assert.equal(await source.get(), 't4');
  });

  for (const [what, token] of [
    ['nothing', undefined],
    ['no text', { token: 7, expiresAt: 1 }],
    ['a blank in it', { token: 'a b', expiresAt: 1 }],
    ['a field of its own in it', { token: 'a\x01auth=b', expiresAt: 1 }],
    ['no time', { token: 'abc', expiresAt: 'soon' }],
  ] as const) {
    it(`are refused with ${what}`, async () => {
      const { source } = counting(() => token as unknown as BrokerToken);
      await assert.rejects(source.get(), { code: 'CONFIG_INVALID' });
    });
  }
});

describe('tokens of MSK', () => {
  const region = 'eu-central-1';
  const signed = async () => {
    process.env.AWS_ACCESS_KEY_ID = 'AKIAIOSFODNN7EXAMPLE';
    process.env.AWS_SECRET_ACCESS_KEY = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY';
    process.env.AWS_SESSION_TOKEN = 'session-of-a-role';
    return mskTokens({ region, profile: null, role: null });
  };

  it('are presigned URLs that allow connecting, made offline', async () => {
    const before = Date.now();
    const { token, expiresAt } = await (await signed())();
    assert.match(token, /^[A-Za-z0-9_-]+$/);
    const url = new URL(Buffer.from(token, 'base64url').toString('utf8'));
    assert.equal(url.origin, `https://kafka.${region}.amazonaws.com`);
    const query = url.searchParams;
    assert.equal(query.get('Action'), 'kafka-cluster:Connect');
    assert.equal(query.get('X-Amz-Algorithm'), 'AWS4-HMAC-SHA256');
    const scope = `/${new Date(before).toISOString().slice(0, 10).replaceAll('-', '')}/${region}/`;
    const credential = query.get('X-Amz-Credential') ?? '';
    assert.ok(credential.startsWith(`AKIAIOSFODNN7EXAMPLE${scope}kafka-cluster/`), credential);
    assert.match(query.get('X-Amz-Signature') ?? '', /^[0-9a-f]{64}$/);
    assert.equal(query.get('X-Amz-Security-Token'), 'session-of-a-role');
    assert.equal(query.get('X-Amz-Expires'), '900');
    assert.ok(!token.includes('wJalr') && !url.href.includes('wJalr'));
    assert.ok(expiresAt >= before + 899_000 - 1000 && expiresAt <= Date.now() + 900_000);
  });

  it('are signed anew before they expire', async () => {
    const sign = await signed();
    let ahead = 0;
    const made: string[] = [];
    const source = createTokenSource(
      async () => {
        const { token, expiresAt } = await sign();
        made.push(token);
        return { token, expiresAt: expiresAt + ahead };
      },
      () => Date.now() + ahead,
    );
    await source.get();
    ahead = 600_000;
    await source.get();
    assert.equal(made.length, 1);
    ahead = 690_000;
    await source.get();
    assert.equal(made.length, 2);
  });
});
