/**
 * The suite that every job store must pass: what `ports/jobs.ts`, `ports/job-queries.ts` and
 * `ports/schedules.ts` promise, case by case. A driver's test file calls `testJobStore` with a way
 * to open it; what it cannot do by its capabilities skips itself, what else it cannot do it names.
 */
import { after, before, describe, it } from 'node:test';
import type { CallerTransaction, JobCases } from './jobs.fixtures.conformance.ts';
import type { JobStore } from './jobs.ts';
import { againCases } from './jobs-again.conformance.ts';
import { exceptionalCases } from './jobs-exceptional.conformance.ts';
import { hotCases } from './jobs-hot.conformance.ts';
import { laneCases } from './jobs-lanes.conformance.ts';
import { limitCases } from './jobs-limits.conformance.ts';
import { parentCases } from './jobs-parents.conformance.ts';
import { queryCases } from './jobs-queries.conformance.ts';
import { recoveryCases } from './jobs-recovery.conformance.ts';
import { transactionCases } from './jobs-transactions.conformance.ts';
import { uniqueCases } from './jobs-unique.conformance.ts';
import { verbCases } from './jobs-verbs.conformance.ts';
import { scheduleCases } from './schedules.conformance.ts';

export interface JobStoreHarness {
  /** Opens the data of this harness: the first call, and each further one as another process. */
  open(): Promise<JobStore>;
  /** A caller's own transaction on the same database, where there is such a thing. */
  readonly transaction?: CallerTransaction;
  /** Removes the data. Every store is closed by then. */
  remove(): Promise<void>;
}

export interface JobStoreSuiteOptions {
  /** Title of a case → why this store does not pass it. */
  readonly skip?: Readonly<Record<string, string>>;
}

const areas: Readonly<Record<string, JobCases>> = {
  hot: hotCases,
  again: againCases,
  lanes: laneCases,
  exceptional: exceptionalCases,
  unique: uniqueCases,
  parents: parentCases,
  recovery: recoveryCases,
  limits: limitCases,
  verbs: verbCases,
  queries: queryCases,
  transactions: transactionCases,
  schedules: scheduleCases,
};

export function testJobStore(
  name: string,
  makeHarness: () => Promise<JobStoreHarness>,
  { skip = {} }: JobStoreSuiteOptions = {},
): void {
  const known = new Set(Object.values(areas).flatMap((cases) => Object.keys(cases)));
  const stale = Object.keys(skip).filter((title) => !known.has(title));
  if (stale.length > 0) throw new Error(`skip names no case: ${stale.join('; ')}`);
  describe(name, () => {
    let harness: JobStoreHarness;
    let second: Promise<JobStore> | null = null;
    const opened: JobStore[] = [];
    const open = async () => {
      const store = await harness.open();
      opened.push(store);
      return store;
    };
    // One for all cases: a store has connections, and what it learnt stays right.
    const another = () => {
      second ??= open();
      return second;
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
    for (const [area, cases] of Object.entries(areas)) {
      describe(area, () => {
        for (const [title, run] of Object.entries(cases)) {
          number += 1;
          const own = { queue: `queue-${number}`, tenant: `tenant-${number}` };
          it(title, { skip: skip[title] ?? false }, (t) => {
            const [store] = opened as [JobStore];
            const transaction = harness.transaction ?? null;
            return run({ ...own, store, another, transaction, t: t as never });
          });
        }
      });
    }
  });
}
