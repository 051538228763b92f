/** One verb for all dead letters that failed alike: counted first, paced, and stoppable. */
import { MillraceError } from '../core/errors.ts';
import type { DeadLetter, DeadLetterFilter, FailureStore } from '../ports/failures.ts';
import { sleep } from '../runtime/bell.ts';

export interface BulkRequest {
  readonly tenantId: string;
  readonly fingerprint: string;
  readonly verb: 'retry' | 'skip' | 'discard';
  /** Counts and shows examples; changes nothing. */
  readonly dryRun?: boolean;
  /** Letters a second at most; 100 by default. */
  readonly ratePerSecond?: number;
  /** Letters at most; 10,000 by default. */
  readonly limit?: number;
  readonly signal?: AbortSignal;
}

export interface BulkResult {
  readonly matched: number;
  readonly changed: number;
  /** Letters that somebody else dealt with in the meantime. */
  readonly passedOver: number;
  readonly examples: readonly DeadLetter[];
}

const exampleMax = 3;
const pageMax = 500;

export async function applyToAll(
  failures: FailureStore,
  request: BulkRequest,
  apply: (letter: DeadLetter) => Promise<unknown>,
): Promise<BulkResult> {
  const { tenantId, fingerprint, dryRun = false, signal } = request;
  const { ratePerSecond = 100, limit = 10_000 } = request;
  const letters = await collect(failures, { tenantId, fingerprint, status: 'pending' }, limit);
  const examples = letters.slice(0, exampleMax);
  let changed = 0;
  let passedOver = 0;
  // Oldest first: of one key, the first to fail goes first.
  for (const letter of dryRun ? [] : letters.toReversed()) {
    if (signal?.aborted) break;
    const started = performance.now();
    try {
      await apply(letter);
      changed += 1;
    } catch (error) {
      if (!isGone(error)) throw error;
      passedOver += 1;
    }
    await sleep(Math.max(0, 1000 / ratePerSecond - (performance.now() - started)), signal);
  }
  return { matched: letters.length, changed, passedOver, examples };
}

async function collect(
  failures: FailureStore,
  filter: DeadLetterFilter,
  limit: number,
): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = [];
  while (letters.length < limit) {
    const last = letters.at(-1);
    const page = await failures.list({
      ...filter,
      limit: Math.min(pageMax, limit - letters.length),
      ...(last && { after: last }),
    });
    letters.push(...page);
    if (page.length < pageMax) break;
  }
  return letters;
}

function isGone(error: unknown): boolean {
  return error instanceof MillraceError && ['NOT_FOUND', 'DEAD_LETTER_STATE'].includes(error.code);
}
