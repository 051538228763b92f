/** Verbs that the engine carries out, on a run whose commits are stored in memory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../../../test/support/eventually.ts';
import { RunRecord } from '../../core/workflow/run-record.ts';
import type {
  CommitRequest,
  RunInfo,
  StoredMessage,
  WorkflowStore,
} from '../../ports/workflows.ts';
import { Committer } from '../committer.ts';
import { Alarms } from './alarms.ts';
import { LiveRun } from './live-run.ts';
import type { RunHost } from './run-host.ts';

const verb = (no: number, name: string): StoredMessage => ({
  runId: 'r',
  messageId: `m${no}`,
  kind: 'verb',
  name,
  payloadJson: '{"by":"ann"}',
  no,
  sentAt: 1,
});

/** Held with one message, while the store has others. */
function hold(
  first: StoredMessage,
  later: readonly StoredMessage[],
  store: Partial<WorkflowStore> = {},
) {
  const commit = async ({ commits }: CommitRequest) => {
    await new Promise((resolve) => setImmediate(resolve));
    return { outcomes: commits.map(() => 'stored' as const), woken: [] };
  };
  const committer = new Committer({
    store: { commit },
    batchMax: 10,
    heavyMax: 10,
    charsMax: 10_000,
    underWayMax: 1,
    isAlive: () => true,
    onWoken: () => {},
    onLost: () => {},
    onError: (error) => assert.fail(String(error)),
  });
  const messages = async (_runId: string, after: number) => later.filter(({ no }) => no > after);
  const host = {
    workerId: 'worker',
    store: { messages, ...store } as Partial<WorkflowStore>,
    committer,
    alarms: new Alarms(),
    observers: [],
    applied: () => {},
    onError: (error: unknown) => assert.fail(String(error)),
  };
  return new LiveRun(host as unknown as RunHost, {
    info: { runId: 'r', tenantId: 't' } as RunInfo,
    epoch: 1,
    born: true,
    record: new RunRecord(),
    messages: [first],
    ownVerbs: [],
  });
}

test('a resume that comes while the pause is being stored is obeyed after it', async () => {
  const run = hold(verb(1, 'pause'), [verb(2, 'resume')]);
  const claimed = run.obey();
  run.nudge();
  assert.equal(await claimed, true);
  await eventually('both are read', () => run.record.read === 2);
  assert.equal(run.record.paused, false);
  assert.deepEqual(await run.messages(), [], 'the driver sees neither');
});

test("a step's transaction that a seized run refuses is rolled back", async () => {
  let rolledBack = 0;
  const begin: WorkflowStore['begin'] = async () => ({
    tx: { query: async () => [] },
    commit: () => assert.fail('nothing of it is stored'),
    rollback: async () => {
      rolledBack += 1;
    },
  });
  const run = hold(verb(1, 'nothing'), [], { begin });
  const transaction = await run.begin();
  await run.seize(new Error('seized'));
  await assert.rejects(transaction.commit({ transitions: [] }), /seized/);
  assert.equal(rolledBack, 1);
});
