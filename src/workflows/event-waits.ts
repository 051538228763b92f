/**
 * Events for runs that wait for them: one stream group for each awaited type, so that processes
 * with different workflows share cursors, and a type that is new begins where the log ends by then.
 * The delivery commits with the cursor.
 */
import { createHash } from 'node:crypto';
import { defineEvent, type EventDefinition } from '../core/event.ts';
import type { StandardSchemaV1 } from '../core/schema.ts';
import type { AnyDefinition, Subscription } from '../events/stream/subscription.ts';
import type { WorkflowStore } from '../ports/workflows.ts';
import { sleep } from '../runtime/bell.ts';

export interface EventWaitsOptions {
  readonly store: Pick<WorkflowStore, 'deliverEvents'>;
  /** Runs may have got events: those in memory look, resting ones have a job in these queues. */
  delivered(queues: readonly string[]): void;
}

/** The handler's transaction commits soon after it returned; nobody says when. */
const tellAfterMs = [3, 20, 100, 400];

/** It was checked when it was published. */
const anything: StandardSchemaV1<unknown, unknown> = {
  '~standard': { version: 1, vendor: 'millrace', validate: (value) => ({ value }) },
};

/** What a group's name may have. */
const groupCharsMax = 63;

export function groupOf(eventType: string): string {
  const name = `workflow-waits.${eventType}`;
  if (name.length <= groupCharsMax) return name;
  return `workflow-waits.${createHash('sha256').update(eventType).digest('hex').slice(0, 40)}`;
}

export function eventWaitsFor(eventType: string, options: EventWaitsOptions): Subscription {
  const { store, delivered } = options;
  const tell = async (queues: readonly string[]): Promise<void> => {
    for (const ms of tellAfterMs) {
      await sleep(ms);
      delivered(queues);
    }
  };
  const definition: EventDefinition<unknown> = defineEvent(eventType, { schema: anything });
  return {
    group: groupOf(eventType),
    events: [definition as AnyDefinition],
    from: 'end',
    allowFutureVersions: true,
    async handleBatch(events, context) {
      const given = events.map((event) => ({
        eventId: event.eventId,
        tenantId: event.tenantId,
        eventType: event.eventType,
        key: event.key ?? '',
        // With its key: one run may wait for several keys of a type.
        payloadJson: JSON.stringify({
          eventId: event.eventId,
          key: event.key,
          payload: event.payload,
        }),
      }));
      const answer = await store.deliverEvents(given, { tx: await context.tx() });
      if (answer.delivered > 0) void tell(answer.woken);
    },
  };
}
