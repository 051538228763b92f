/** What the tests of the worker event system share: a database, namespaces, quick systems. */
import { after, before, type TestContext } from 'node:test';
import {
  type ConnectOptions,
  defineJob,
  type JobDefinition,
  type Millrace,
  type StepMessage,
  WorkerEventSystem,
  type WorkerEventSystemOptions,
} from 'millrace';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { openMill } from '../../support/mill.ts';

interface Making extends Partial<WorkerEventSystemOptions> {
  readonly mill: Millrace;
}

interface Place {
  readonly namespace: string;
  readonly queue: string;
  readonly Step: JobDefinition<{ n: number }>;
}

/** Call it at the root of a test file: the database lasts as long as the file. */
export function setUp() {
  let database: TestDatabase;
  let number = 0;
  before(async () => {
    database = await freshDatabase();
  });
  after(() => database.drop());
  return {
    url: () => database.url,
    open: (t: TestContext, options: ConnectOptions = {}): Promise<Millrace> =>
      openMill(t, database.url, options),
    /** A namespace of its own for each test. */
    place(): Place {
      number += 1;
      const namespace = `ns${number}`;
      const queue = `${namespace}_queue`;
      return { namespace, queue, Step: defineJob<{ n: number }>('step', { queue }) };
    },
    /** Quick to poll, and stopped at the end of the test. */
    make(t: TestContext, namespace: string, options: Making): WorkerEventSystem {
      const { config = {} } = options;
      const system = new WorkerEventSystem({
        namespaces: [namespace],
        ...options,
        config: {
          ...config,
          backoff: { initialDelayMs: 5, maxDelayMs: 20, ...config.backoff },
          fallbackPoller: { pollingIntervalMs: 20, ...config.fallbackPoller },
        },
      });
      t.after(() => system.stop({ graceMs: 1_000 }));
      return system;
    },
  };
}

export const numberOf = ({ payload }: StepMessage): number => (payload as { n: number }).n;
export const counts = (seen: readonly number[]) => ({
  all: seen.length,
  different: new Set(seen).size,
});

/** As when a notice is lost: nobody is told, and the tenant's lane is new to everybody. */
export async function enqueueSilently(mill: Millrace, Step: Place['Step'], n: number) {
  const job = Step.prepare({ n }, { tenantId: `quiet${n}` });
  await mill.store.jobs.exchange({
    queue: Step.queue,
    epoch: null,
    settle: null,
    enqueue: [job],
    enqueueId: crypto.randomUUID(),
    claim: null,
    again: false,
  });
}
