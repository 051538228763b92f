/**
 * The suite that every workflow store must pass: what `ports/workflows.ts` promises, case by case.
 * A driver's test file calls `testWorkflowStore` with a way to open it.
 */
import { after, before, describe, it } from 'node:test';
import type { CallerTransaction } from './jobs.fixtures.conformance.ts';
import type { Store } from './store.ts';
import { queryCases } from './workflow-queries.conformance.ts';
import type { WorkflowCases } from './workflows.fixtures.conformance.ts';
import { childCases } from './workflows-children.conformance.ts';
import { commitCases } from './workflows-commits.conformance.ts';
import { effectCases } from './workflows-effects.conformance.ts';
import { eventCases } from './workflows-events.conformance.ts';
import { messageCases } from './workflows-messages.conformance.ts';
import { recoveryCases } from './workflows-recovery.conformance.ts';
import { restCases } from './workflows-rest.conformance.ts';
import { startCases } from './workflows-start.conformance.ts';
import { transactionCases } from './workflows-transactions.conformance.ts';

export interface WorkflowStoreHarness {
  /** Opens the data of this harness: the first call, and each further one as another process. */
  open(): Promise<Store>;
  /** A caller's own transaction on the same database. */
  readonly transaction: CallerTransaction;
  /** Removes the data. Every store is closed by then. */
  remove(): Promise<void>;
}

export interface WorkflowStoreSuiteOptions {
  /** Title of a case → why this store does not pass it. */
  readonly skip?: Readonly<Record<string, string>>;
}

const areas: Readonly<Record<string, WorkflowCases>> = {
  start: startCases,
  commits: commitCases,
  effects: effectCases,
  messages: messageCases,
  rest: restCases,
  children: childCases,
  events: eventCases,
  recovery: recoveryCases,
  transactions: transactionCases,
  queries: queryCases,
};

export function testWorkflowStore(
  name: string,
  makeHarness: () => Promise<WorkflowStoreHarness>,
  { skip = {} }: WorkflowStoreSuiteOptions = {},
): void {
  const known = new Set(Object.values(areas).flatMap((cases) => Object.keys(cases)));
  const stale = Object.keys(skip).filter((title) => !known.has(title));
  if (stale.length > 0) throw new Error(`skip names no case: ${stale.join('; ')}`);
  describe(name, () => {
    let harness: WorkflowStoreHarness;
    let second: Promise<Store> | null = null;
    const opened: Store[] = [];
    const open = async () => {
      const store = await harness.open();
      opened.push(store);
      return store;
    };
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
          const own = { queue: `runs-${number}`, tenant: `tenant-${number}` };
          it(title, { skip: skip[title] ?? false }, (t) => {
            const [store] = opened as [Store];
            const { transaction } = harness;
            return run({ ...own, store, another, transaction, t: t as never });
          });
        }
      });
    }
  });
}
