import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Algorithm, type Candidate, createBalancing } from './balancing.ts';
import { parseWorker } from './worker-address.ts';

function balance(algorithm: Algorithm, ...weights: number[]) {
  const workers = weights.map(
    (weight, i): Candidate => ({
      ...parseWorker({ address: `w${i}:80`, weight }),
      connections: 0,
      available: true,
    }),
  );
  const balancing = createBalancing(algorithm);
  balancing.change(workers);
  const next = (key?: string) => balancing.next(key)?.address.slice(1, -3) ?? '-';
  const times = (count: number) => Array.from({ length: count }, () => next()).join('');
  const worker = (i: number) => workers[i] as Candidate;
  return { workers, worker, balancing, next, times };
}

describe('round-robin', () => {
  it('goes round, over what is available', () => {
    const { times, worker } = balance('round-robin', 1, 1, 1);
    assert.equal(times(7), '0120120');
    worker(2).available = false;
    assert.equal(times(4), '1010');
    worker(2).available = true;
    assert.equal(times(3), '120');
    for (const i of [0, 1, 2]) worker(i).available = false;
    assert.equal(times(2), '--');
  });

  it('keeps its turn when workers come and go', () => {
    const { times, balancing, workers } = balance('round-robin', 1, 1, 1);
    assert.equal(times(2), '01');
    balancing.change(workers.slice(1));
    assert.equal(times(3), '212');
    balancing.change([]);
    assert.equal(times(1), '-');
  });
});

describe('least-connections', () => {
  it('takes the least busy for its weight, equals in turn', () => {
    const { times, worker } = balance('least-connections', 1, 1, 2);
    assert.equal(times(4), '0120', 'equals in turn');
    [worker(0).connections, worker(1).connections, worker(2).connections] = [2, 1, 3];
    assert.equal(times(2), '11');
    worker(2).connections = 1;
    assert.equal(times(2), '22');
    worker(2).available = false;
    assert.equal(times(1), '1');
  });
});

describe('weighted', () => {
  it('mixes well', () => {
    assert.equal(balance('weighted', 5, 1, 1).times(7), '0010200');
  });

  it('keeps the proportion, and of what is left when one is away', () => {
    const { times, worker } = balance('weighted', 3, 2, 1);
    const share = (text: string, i: number) => text.split(String(i)).length - 1;
    const all = times(600);
    assert.deepEqual([share(all, 0), share(all, 1), share(all, 2)], [300, 200, 100]);
    worker(0).available = false;
    const rest = times(300);
    assert.deepEqual([share(rest, 0), share(rest, 1), share(rest, 2)], [0, 200, 100]);
  });
});

describe('consistent-hash', () => {
  const keys = Array.from({ length: 3_000 }, (_, i) => `tenant-${i}`);

  it('keeps each key with its worker, and shares by weight', () => {
    const { next } = balance('consistent-hash', 1, 1, 2);
    const first = keys.map((key) => next(key));
    assert.deepEqual(
      keys.map((key) => next(key)),
      first,
    );
    const share = (worker: string) => first.filter((it) => it === worker).length / keys.length;
    for (const [worker, wanted] of [
      ['0', 0.25],
      ['1', 0.25],
      ['2', 0.5],
    ] as const) {
      assert.ok(Math.abs(share(worker) - wanted) < 0.06, `${worker}: ${share(worker)}`);
    }
  });

  it('moves only the keys of a worker that is lost, and back when it returns', () => {
    const { next, worker } = balance('consistent-hash', 1, 1, 1, 1);
    const before = keys.map((key) => next(key));
    worker(1).available = false;
    const after = keys.map((key) => next(key));
    const heirs = new Set<string>();
    before.forEach((owner, i) => {
      if (owner === '1') heirs.add(after[i] as string);
      else assert.equal(after[i], owner);
    });
    assert.deepEqual([...heirs].sort(), ['0', '2', '3'], 'shared among all others');
    worker(1).available = true;
    assert.deepEqual(
      keys.map((key) => next(key)),
      before,
    );
  });

  it('takes about its share of the keys for a new worker, from nobody else to nobody else', () => {
    const five = balance('consistent-hash', 1, 1, 1, 1, 1);
    const after = keys.map((key) => five.next(key));
    five.balancing.change(five.workers.slice(0, 4));
    const before = keys.map((key) => five.next(key));
    const moved = before.filter((owner, i) => owner !== after[i]).length / keys.length;
    assert.ok(moved > 0.12 && moved < 0.28, `${moved}`);
    assert.ok(before.every((owner, i) => after[i] === owner || after[i] === '4'));
  });

  it('needs a key, and a worker', () => {
    const { next, worker } = balance('consistent-hash', 1);
    assert.throws(() => next(), /needs a key/);
    worker(0).available = false;
    assert.equal(next('a'), '-');
  });
});

describe('the address of a worker', () => {
  it('is a host and port, or a URL', () => {
    const url = (address: string) => parseWorker(address).baseUrl;
    assert.equal(url('worker-1:3001'), 'http://worker-1:3001');
    assert.equal(url('[::1]:80/'), 'http://[::1]');
    assert.equal(url('https://workers.example/eu/'), 'https://workers.example/eu');
  });

  it('and nothing else', () => {
    for (const address of ['', ' ', 'a b', 'http://', 'h:99999', 'h:80/?x=1', null, {}]) {
      assert.throws(() => parseWorker(address as never), { code: 'CONFIG_INVALID' });
    }
    for (const weight of [0, -1, 1.5, 1_001, Number.NaN]) {
      assert.throws(() => parseWorker({ address: 'h:80', weight }), /weight/);
    }
  });
});
