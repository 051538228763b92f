import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isMillraceError, MillraceError } from '../../core/errors.ts';
import { type CommitResult, Commits, type CommittedOffset } from './commits.ts';

type Answer = readonly CommitResult[] | Error;

/** A coordinator that answers when it is told to. */
function setUp(timeoutMs = 60_000) {
  const sent: (readonly CommittedOffset[])[] = [];
  const open: PromiseWithResolvers<Answer>[] = [];
  const commits = new Commits({
    async send(offsets) {
      sent.push(offsets);
      const asked = Promise.withResolvers<Answer>();
      open.push(asked);
      const answer = await asked.promise;
      if (answer instanceof Error) throw answer;
      return answer;
    },
    failure: (error) =>
      isMillraceError(error) ? error : new MillraceError('BROKER_UNAVAILABLE', String(error)),
    onError: () => {},
    everyMs: 0,
    timeoutMs,
    wait: () => Promise.resolve(),
  });
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  return {
    sent,
    commits,
    turn,
    async answer(answer: Answer | 'stored') {
      await turn();
      const last = sent.at(-1) ?? [];
      open.shift()?.resolve(answer === 'stored' ? last.map(() => 'stored') : answer);
      await turn();
    },
  };
}

const at = (offset: number, partition = 0) => ({ topic: 't', partition, offset });

describe('commits', () => {
  it('go together while one is under way, the highest of each partition', async () => {
    const { commits, sent, answer, turn } = setUp();
    commits.add('t', 0, -1);
    commits.add('t', 1, -1);
    const first = commits.commit(at(5));
    await turn();
    const others = Array.from({ length: 1000 }, (_, i) => commits.commit(at(6 + (i % 50), i % 2)));
    await answer('stored');
    await first;
    await answer('stored');
    await Promise.all(others);
    assert.deepEqual(sent, [[at(5)], [at(54), at(55, 1)]]);
  });

  it('never go back', async () => {
    const { commits, sent, answer } = setUp();
    commits.add('t', 0, 10);
    await commits.commit(at(9));
    const high = commits.commit(at(20));
    const low = commits.commit(at(15));
    await answer('stored');
    await Promise.all([high, low, commits.commit(at(19))]);
    assert.deepEqual(sent, [[at(20)]]);
  });

  it('are sent again after a failure and after "again"', async () => {
    const { commits, sent, answer } = setUp();
    commits.add('t', 0, -1);
    const done = commits.commit(at(5));
    await answer(new Error('connection closed'));
    await answer(['again']);
    await answer('stored');
    await done;
    assert.equal(sent.length, 3);
  });

  it('of a partition that is gone resolve and are not sent', async () => {
    const { commits, sent, answer } = setUp();
    commits.add('t', 0, -1);
    const done = commits.commit(at(5));
    await answer(['again']);
    commits.remove('t', 0);
    await done;
    await commits.commit(at(7));
    await answer(['again']);
    await commits.flush();
    assert.equal(sent.length, 2);
  });

  it('are rejected when time is up, or rights are missing', async () => {
    const { commits, answer } = setUp(0);
    commits.add('t', 0, -1);
    const late = commits.commit(at(5));
    const rejected = assert.rejects(late, { code: 'BROKER_UNAVAILABLE' });
    await answer(new Error('connection closed'));
    await rejected;
    const denied = assert.rejects(commits.commit(at(6)), { code: 'BROKER_DENIED' });
    await answer([{ refused: new MillraceError('BROKER_DENIED', 'no right') }]);
    await denied;
  });
});
