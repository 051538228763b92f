/**
 * The suite that every store must pass: what `ports/store.ts` promises, case by case. A driver's
 * test file calls `testStore` with a way to open it; what it cannot do it skips, with the reason.
 */
import { after, before, describe, it, type TestContext } from 'node:test';
import { failureCases } from './failures.conformance.ts';
import type { Cases } from './fixtures.conformance.ts';
import { historyCases } from './history.conformance.ts';
import { logCases } from './log.conformance.ts';
import { retentionCases } from './retention.conformance.ts';
import { stagingCases } from './staging.conformance.ts';
import type { Store } from './store.ts';
import { streamCases } from './streams.conformance.ts';

export interface StoreHarness {
  /** Opens the data of this harness: the first call, and each further one as another process. */
  open(): Promise<Store>;
  /** Removes the data. Every store is closed by then. */
  remove(): Promise<void>;
}

export interface StoreSuiteOptions {
  /** Title of a case → why this store does not pass it. */
  readonly skip?: Readonly<Record<string, string>>;
}

const areas: Readonly<Record<string, Cases>> = {
  log: logCases,
  staging: stagingCases,
  streams: streamCases,
  failures: failureCases,
  history: historyCases,
};

export function testStore(
  name: string,
  makeHarness: () => Promise<StoreHarness>,
  { skip = {} }: StoreSuiteOptions = {},
): void {
  describe(name, () => {
    let harness: StoreHarness;
    const opened: Store[] = [];
    const open = async () => {
      const store = await harness.open();
      opened.push(store);
      return store;
    };
    before(async () => {
      harness = await makeHarness();
      await open();
    });
    after(async () => {
      await Promise.all(opened.map((store) => store.close()));
      await harness?.remove();
    });
    let number = 0;
    describe('retention', () => {
      for (const [title, run] of Object.entries(retentionCases)) {
        it(title, { skip: skip[title] ?? false }, (t) => runApart(makeHarness, run, t as never));
      }
    });
    for (const [area, cases] of Object.entries(areas)) {
      describe(area, () => {
        for (const [title, run] of Object.entries(cases)) {
          number += 1;
          const own = { group: `group-${number}`, tenant: `tenant-${number}` };
          it(title, { skip: skip[title] ?? false }, (t) => {
            const [store] = opened as [Store];
            return run({ ...own, store, another: open, t: t as never });
          });
        }
      });
    }
  });
}

/** A case with data of its own. */
async function runApart(
  makeHarness: () => Promise<StoreHarness>,
  run: Cases[string],
  t: TestContext,
): Promise<void> {
  const harness = await makeHarness();
  const opened: Store[] = [];
  const open = async () => {
    const store = await harness.open();
    opened.push(store);
    return store;
  };
  try {
    const store = await open();
    await run({ group: 'group', tenant: 'tenant', store, another: open, t });
  } finally {
    await Promise.all(opened.map((store) => store.close()));
    await harness.remove();
  }
}
