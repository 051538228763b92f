/** Many steps of one kind, and branches side by side, in a durable function. */
import { describeKind } from '../../core/describe.ts';
import { MillraceError } from '../../core/errors.ts';
import type { StepTools } from '../run/driver.ts';
import type { MapOptions } from './context.ts';
import type { FunctionCall } from './function-call.ts';
import { readPolicy } from './function-rules.ts';
import type { FunctionRun } from './function-run.ts';
import { runStep, type StepSpec } from './run-steps.ts';

const concurrencyDefault = 10;
const concurrencyMax = 1_000;
const itemsMax = 100_000;

type ItemStep = (item: unknown, index: number, tools: StepTools) => unknown;

/** One step an item. Items that the history has cost nothing but a look. */
export async function mapItems(
  room: FunctionRun,
  call: FunctionCall,
  key: string,
  items: readonly unknown[],
  step: ItemStep,
  options: MapOptions = {},
): Promise<unknown[]> {
  const { concurrency = concurrencyDefault, idempotent = true } = options;
  checkMap(key, items, concurrency);
  const given = options as Readonly<Record<string, unknown>>;
  const usual: Omit<StepSpec, 'handle'> = {
    ...readPolicy(`Step '${key}'`, given, room.rules.policy),
    transactional: false,
    idempotent,
    inputsJson: undefined,
    template: key,
  };
  const results: unknown[] = new Array(items.length);
  let next = 0;
  let failed: { readonly error: unknown } | null = null;
  const work = async () => {
    while (next < items.length && failed === null) {
      const index = next;
      next += 1;
      const item = items[index];
      const name = `${key}[${index}]`;
      const handle = (tools: StepTools) => step(item, index, tools);
      try {
        results[index] = await call.answer({ name, kind: 'run' }, (found) =>
          runStep(room, found, name, { ...usual, handle }),
        );
      } catch (error) {
        failed ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, work));
  if (failed !== null) throw (failed as { readonly error: unknown }).error;
  return results;
}

function checkMap(key: string, items: unknown, concurrency: number): void {
  if (!Array.isArray(items) || items.length > itemsMax) {
    const found = Array.isArray(items) ? `${items.length} items` : describeKind(items);
    throw new MillraceError('WORKFLOW_INVALID', `map '${key}' is given ${found}.`, {
      fix: `Give an array of at most ${itemsMax}; put more into several child workflows.`,
    });
  }
  if (Number.isInteger(concurrency) && concurrency >= 1 && concurrency <= concurrencyMax) return;
  throw new MillraceError('WORKFLOW_INVALID', `map '${key}': concurrency is ${concurrency}.`, {
    fix: `Give a whole number from 1 to ${concurrencyMax}.`,
  });
}

/** Every branch comes to its end before the first error is thrown. */
export async function runBranches(
  call: FunctionCall,
  branches: Readonly<Record<string, () => unknown>>,
): Promise<Record<string, unknown>> {
  const names = Object.keys(branches);
  const label = (name: string) => name.replaceAll('/', '_');
  const ends = await Promise.allSettled(
    names.map((name) => call.branch(label(name), async () => (branches[name] as () => unknown)())),
  );
  const failed = ends.find((end) => end.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return Object.fromEntries(
    names.map((name, i) => [name, (ends[i] as PromiseFulfilledResult<unknown>).value]),
  );
}
