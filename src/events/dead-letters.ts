/**
 * The sequenced dead-letter queue (P9-15): what a group could not handle, in order, with everything
 * that waits behind it. Verbs act on one letter or, by fingerprint, on all that failed alike.
 */
import type { AnyDefinition } from './stream/subscription.ts';
import { MillraceError } from '../core/errors.ts';
import { prepareEvent } from '../core/event.ts';
import type {
  DeadLetter,
  DeadLetterFilter,
  DeadLetterRef,
  DeadLetterVerb,
  FailureStore,
  FingerprintCount,
} from '../ports/failures.ts';
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

export interface DeadLetters {
  list(filter: DeadLetterFilter): Promise<readonly DeadLetter[]>;
  /** NOT_FOUND when there is none. */
  show(ref: DeadLetterRef): Promise<DeadLetter>;
  fingerprints(tenantId: string): Promise<readonly FingerprintCount[]>;
  counts(tenantId: string): ReturnType<FailureStore['counts']>;
  /** Handles this event again; what waits behind it follows when it succeeds. */
  retry(ref: DeadLetterRef): Promise<void>;
  /** Handles it and every dead letter of its key again, in order. */
  retryKey(ref: DeadLetterRef): Promise<void>;
  /** Handles it again with another payload; the log keeps the original. */
  editAndRetry(ref: DeadLetterRef, payload: unknown): Promise<void>;
  /** Passes over this event; what waits behind it goes on. */
  skip(ref: DeadLetterRef): Promise<void>;
  /** Gives up this event and everything that waits behind it. Returns how many. */
  discard(ref: DeadLetterRef): Promise<number>;
  bulk(request: BulkRequest): Promise<BulkResult>;
}

export interface DeadLettersOptions {
  readonly failures: FailureStore;
  definition(eventType: string): AnyDefinition | undefined;
  /** Tells the owner of the partition to look. */
  onChanged(group: string, partition: number): void;
}

const exampleMax = 3;
const pageMax = 500;

export function createDeadLetters(options: DeadLettersOptions): DeadLetters {
  const { failures, onChanged } = options;

  async function show(ref: DeadLetterRef): Promise<DeadLetter> {
    const letter = await failures.find(ref);
    if (letter) return letter;
    throw new MillraceError(
      'NOT_FOUND',
      `Group ${ref.group} has no dead letter for event ${ref.eventId} of tenant ${ref.tenantId}.`,
    );
  }

  async function apply(ref: DeadLetterRef, verb: DeadLetterVerb): Promise<number> {
    const { changed, partition } = await failures.apply(ref, verb);
    onChanged(ref.group, partition);
    return changed;
  }

  async function bulk(request: BulkRequest): Promise<BulkResult> {
    const { tenantId, fingerprint, verb, dryRun = false, signal } = request;
    const { ratePerSecond = 100, limit = 10_000 } = request;
    const letters = await collect({ tenantId, fingerprint, status: 'pending' }, limit);
    const examples = letters.slice(0, exampleMax);
    if (dryRun) return { matched: letters.length, changed: 0, passedOver: 0, examples };
    let changed = 0;
    let passedOver = 0;
    // Oldest first: of one key, the first to fail goes first.
    for (const letter of letters.toReversed()) {
      if (signal?.aborted) break;
      const started = performance.now();
      try {
        await apply(letter, { verb });
        changed += 1;
      } catch (error) {
        const gone = error instanceof MillraceError && ['NOT_FOUND', 'DEAD_LETTER_STATE'].includes(error.code);
        if (!gone) throw error;
        passedOver += 1;
      }
      await sleep(Math.max(0, 1000 / ratePerSecond - (performance.now() - started)), signal);
    }
    return { matched: letters.length, changed, passedOver, examples };
  }

  async function collect(filter: DeadLetterFilter, limit: number): Promise<DeadLetter[]> {
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

  return {
    list: (filter) => failures.list(filter),
    show,
    fingerprints: (tenantId) => failures.fingerprints(tenantId),
    counts: (tenantId) => failures.counts(tenantId),
    retry: async (ref) => void (await apply(ref, { verb: 'retry' })),
    retryKey: async (ref) => void (await apply(ref, { verb: 'retry-key' })),
    async editAndRetry(ref, payload) {
      const { eventType, tenantId } = await show(ref);
      const definition = options.definition(eventType);
      if (definition === undefined) {
        throw new MillraceError('EVENT_UNKNOWN', `No definition is known for ${eventType}.`);
      }
      // What a handler gets must have passed the schema, edited or not.
      const prepared = prepareEvent(definition, { tenantId, payload, key: null });
      await apply(ref, { verb: 'retry', payload: prepared.event.payload });
    },
    skip: async (ref) => void (await apply(ref, { verb: 'skip' })),
    discard: (ref) => apply(ref, { verb: 'discard' }),
    bulk,
  };
}
