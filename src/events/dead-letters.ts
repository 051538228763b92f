/**
 * The sequenced dead-letter queue (P9-15): what a group could not handle, in order, with everything
 * that waits behind it. Verbs act on one letter or, by fingerprint, on all that failed alike.
 */

import { MillraceError } from '../core/errors.ts';
import { prepareEvent } from '../core/event.ts';
import type { Redactor } from '../core/redaction.ts';
import type {
  DeadLetter,
  DeadLetterFilter,
  DeadLetterRef,
  DeadLetterVerb,
  FailureStore,
  FingerprintCount,
} from '../ports/failures.ts';
import { applyToAll, type BulkRequest, type BulkResult } from './bulk.ts';
import type { AnyDefinition } from './stream/subscription.ts';

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
  readonly redactor?: Redactor | undefined;
  definition(eventType: string): AnyDefinition | undefined;
  /** Tells the owner of the partition to look. */
  onChanged(group: string, partition: number): void;
}

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
      const edited = { tenantId, payload, key: null };
      const prepared = prepareEvent(definition, edited, { redactor: options.redactor });
      await apply(ref, { verb: 'retry', payload: prepared.event.payload });
    },
    skip: async (ref) => void (await apply(ref, { verb: 'skip' })),
    discard: (ref) => apply(ref, { verb: 'discard' }),
    bulk: (request) =>
      applyToAll(failures, request, (letter) => apply(letter, { verb: request.verb })),
  };
}
