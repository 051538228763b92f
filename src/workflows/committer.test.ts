import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MillraceError } from '../core/errors.ts';
import type { CommitOutcome, CommitRequest, CommitResult, RunCommit } from '../ports/workflows.ts';
import { type CommitSource, Committer } from './committer.ts';

type Answer = CommitResult | Error;

/** The store's side by hand: each commit waits until the test answers it. */
function scripted() {
  const requests: CommitRequest[] = [];
  const answers: ((answer: Answer) => void)[] = [];
  const commit = (request: CommitRequest): Promise<CommitResult> => {
    requests.push(request);
    return new Promise((resolve, reject) => {
      answers.push((answer) => (answer instanceof Error ? reject(answer) : resolve(answer)));
    });
  };
  /** Answers the oldest one, and lets everything go on that can. */
  const answer = async (given: Answer | CommitOutcome) => {
    const request = requests[requests.length - answers.length] as CommitRequest;
    const next = answers.shift();
    assert.ok(next, 'a commit is under way');
    next(typeof given === 'string' ? stored(request, given) : given);
    await turn();
  };
  return { requests, answer, commit, answers };
}

const stored = ({ commits }: CommitRequest, outcome: CommitOutcome): CommitResult => ({
  outcomes: commits.map(() => outcome),
  woken: [],
});
/** Until everything that can go on has done so. */
const turn = async () => {
  for (let i = 0; i < 3; i += 1) await new Promise((resolve) => setImmediate(resolve));
};

class Source implements CommitSource {
  readonly epoch: number;
  heavy = false;
  readonly heard: unknown[] = [];
  readonly #name: string;
  readonly #chars: number;
  seq = 0;

  constructor(name: string, epoch = 1, chars = 10) {
    this.#name = name;
    this.epoch = epoch;
    this.#chars = chars;
  }

  take(): RunCommit | null {
    this.seq += 1;
    return {
      runId: this.#name,
      tenantId: 't',
      seq: this.seq,
      state: 'pending',
      changeJson: 'x'.repeat(this.#chars),
    };
  }
  settled(outcome: CommitOutcome): void {
    this.heard.push(outcome);
  }
  failed(error: unknown): void {
    this.heard.push(error);
  }
}

function open(store: ReturnType<typeof scripted>, more: Partial<{ batchMax: number }> = {}) {
  const lost: number[] = [];
  const errors: unknown[] = [];
  const alive = new Set([1, 2]);
  const committer = new Committer({
    store,
    batchMax: 100,
    heavyMax: 2,
    charsMax: 1_000,
    underWayMax: 1,
    isAlive: (epoch) => alive.has(epoch),
    onWoken: () => {},
    onLost: (epoch) => lost.push(epoch),
    onError: (error) => errors.push(error),
    ...more,
  });
  return { committer, lost, errors, alive };
}

describe('Committer', () => {
  it('lets light commits pass when many heavy ones wait, and forgets none', async () => {
    const store = scripted();
    const { committer } = open(store);
    const heavy = ['h1', 'h2', 'h3', 'h4', 'h5'].map((name) => new Source(name));
    for (const source of heavy) {
      source.heavy = true;
      committer.add(source);
    }
    committer.add(new Source('light'));
    for (let i = 0; i < 3; i += 1) {
      await turn();
      await store.answer('stored');
    }
    assert.deepEqual(
      store.requests.map(({ commits }) => commits.map(({ runId }) => runId)),
      [['h1', 'h2', 'light'], ['h3', 'h4'], ['h5']],
    );
    assert.ok(heavy.every(({ heard }) => heard.length === 1));
  });

  it('sends what comes in one turn together, and what gathers meanwhile next', async () => {
    const store = scripted();
    const { committer } = open(store);
    const [a, b, c, d] = [new Source('a'), new Source('b'), new Source('c'), new Source('d')];
    committer.add(a);
    // A promise later, as a driver would: still the same turn.
    await Promise.resolve().then(() => committer.add(b));
    await turn();
    assert.deepEqual(
      store.requests.map(({ commits }) => commits.map(({ runId }) => runId)),
      [['a', 'b']],
    );
    committer.add(c);
    committer.add(d);
    await turn();
    assert.equal(store.requests.length, 1, 'one is under way');
    await store.answer('stored');
    assert.deepEqual(a.heard, ['stored']);
    assert.deepEqual(
      store.requests[1]?.commits.map(({ runId }) => runId),
      ['c', 'd'],
    );
    let flushed = false;
    const flushing = committer.flush().then(() => {
      flushed = true;
    });
    await turn();
    assert.equal(flushed, false);
    await store.answer('fenced');
    await flushing;
    assert.deepEqual(d.heard, ['fenced']);
    assert.deepEqual(committer.totals, { batches: 2, commits: 4, retried: 0 });
  });

  it('bounds a batch by runs and by characters', async () => {
    const store = scripted();
    const { committer } = open(store, { batchMax: 2 });
    const sources = [
      new Source('a'),
      new Source('b'),
      new Source('big', 1, 5_000),
      new Source('c'),
    ];
    for (const source of sources) committer.add(source);
    await turn();
    await store.answer('stored');
    await store.answer('stored');
    await store.answer('stored');
    assert.deepEqual(
      store.requests.map(({ commits }) => commits.map(({ runId }) => runId)),
      [['a', 'b'], ['big'], ['c']],
    );
  });

  it('asks again, and says so, while the store is away', async () => {
    const store = scripted();
    const { committer, errors } = open(store);
    const a = new Source('a');
    committer.add(a);
    await turn();
    await store.answer(new MillraceError('STORE_UNAVAILABLE', 'gone'));
    while (store.answers.length === 0) await turn();
    await store.answer('stored');
    assert.deepEqual(
      store.requests.map(({ again }) => again),
      [false, true],
    );
    assert.equal(store.requests[0]?.commits[0], store.requests[1]?.commits[0], 'the same again');
    assert.deepEqual(a.heard, ['stored']);
    assert.equal(errors.length, 1);
  });

  it('gives up what belongs to an epoch that was declared dead', async () => {
    const store = scripted();
    const { committer, lost, alive } = open(store);
    const [a, b] = [new Source('a'), new Source('b')];
    committer.add(a);
    await turn();
    await store.answer(new MillraceError('LEASE_LOST', 'declared dead'));
    assert.equal((a.heard[0] as MillraceError).code, 'LEASE_LOST');
    assert.deepEqual(lost, [1]);
    alive.delete(1);
    committer.add(b);
    await turn();
    assert.equal(store.requests.length, 1, 'nobody is asked about a dead epoch');
    assert.equal((b.heard[0] as MillraceError).code, 'LEASE_LOST');
  });

  it('stores the others when the change of one is refused', async () => {
    const store = scripted();
    const { committer } = open(store);
    const [good, bad, fine] = [new Source('good'), new Source('bad'), new Source('fine')];
    for (const source of [good, bad, fine]) committer.add(source);
    await turn();
    const refused = new MillraceError('STORE_CONFLICT', 'not such a value');
    await store.answer(refused);
    await store.answer('stored');
    await store.answer(refused);
    await store.answer('stored');
    assert.deepEqual([good.heard, bad.heard, fine.heard], [['stored'], [refused], ['stored']]);
  });

  it('never mixes epochs', async () => {
    const store = scripted();
    const { committer } = open(store);
    for (const source of [new Source('old', 1), new Source('new', 2), new Source('newer', 2)]) {
      committer.add(source);
    }
    await turn();
    await store.answer('stored');
    assert.deepEqual(
      store.requests.map(({ epoch, commits }) => [epoch, commits.length]),
      [
        [1, 1],
        [2, 2],
      ],
    );
  });
});
