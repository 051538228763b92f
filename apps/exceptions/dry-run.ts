/**
 * Runs one exception through the stages in memory, without a log: to try out a pack, for the test
 * suites inside packs, and for tests. Events are checked against their schemas as publishing does.
 * The engine's guarantees (order, retry, commit) are not part of it: a failure is simply thrown.
 */
import {
  type EventDefinition,
  freezeJson,
  MillraceError,
  newEventId,
  type StoredEvent,
} from 'millrace';
import { ExceptionIngested } from './events.ts';
import type { Packs } from './packs/load.ts';
import { type ExceptionState, projectException } from './projection.ts';
import { createStages } from './stages/create-stages.ts';
import type { Stage } from './stages/stage.ts';
import { createToolRunner } from './tools/runner.ts';
import type { Severity } from './vocabulary.ts';

export interface DryRunInput<P> {
  readonly tenantId: string;
  readonly payload: P;
  /** ISO 8601; the same time is given to every event. Default now. */
  readonly timestamp?: string | number | Date;
}

export interface DryRun {
  /** Every event, in the order in which it was published. */
  readonly events: readonly StoredEvent[];
  /** What the projection would show. */
  readonly state: ExceptionState | null;
}

/** An exception as a pack's test suite writes it. */
export interface TrialInput {
  readonly tenantId?: string;
  readonly domain: string;
  readonly exceptionType?: string | undefined;
  readonly severity?: Severity | undefined;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly timestamp?: string;
}

/** Sends one exception through the stages of these packs; tools are simulated or switched off. */
export function tryException(packs: Packs, trial: TrialInput): Promise<DryRun> {
  const tools = createToolRunner({ http: null, webhook: null });
  const { tenantId = 'any-tenant', domain, exceptionType, severity, payload, timestamp } = trial;
  return dryRun(createStages({ packs, tools }), ExceptionIngested, {
    tenantId,
    payload: {
      exceptionId: newEventId(),
      domain,
      ...(exceptionType !== undefined && { exceptionType }),
      ...(severity !== undefined && { severity }),
      rawPayload: payload,
    },
    ...(timestamp !== undefined && { timestamp }),
  });
}

/** More events than any run of a sane playbook has; a pack that loops ends here. */
const eventsMax = 1_000;

/** Publishes one event and lets the stages work until nothing is left to do. */
export async function dryRun<P>(
  stages: readonly Stage[],
  definition: EventDefinition<P>,
  input: DryRunInput<P>,
  before?: DryRun,
): Promise<DryRun> {
  const offset = before?.events.length ?? 0;
  const events: StoredEvent[] = [toEvent(definition, input, null, offset)];
  let state = before?.state ?? null;
  for (let index = 0; index < events.length; index++) {
    const event = events[index] as StoredEvent;
    state = projectException(state, event);
    for (const stage of stages) {
      if (!stage.events.some(({ type }) => type === event.eventType)) continue;
      const { signal } = new AbortController();
      const { tenantId, timestamp } = event;
      await stage.handle(event, {
        attempt: 1,
        signal,
        publish(followUp, { payload }) {
          const at = offset + events.length;
          events.push(toEvent(followUp, { tenantId, payload, timestamp }, event, at));
        },
      });
    }
    if (events.length > eventsMax) throw new Error(`more than ${eventsMax} events from one`);
  }
  return { events: [...(before?.events ?? []), ...events], state };
}

function toEvent<P>(
  definition: EventDefinition<P>,
  input: DryRunInput<P>,
  cause: StoredEvent | null,
  index: number,
): StoredEvent {
  const checked = definition.schema['~standard'].validate(input.payload);
  if (checked instanceof Promise) throw new TypeError('schemas of events are synchronous');
  if (checked.issues !== undefined) {
    const [issue] = checked.issues;
    const path = (issue?.path ?? []).map(String).join('.');
    const message = `${definition.type}: payload.${path}: ${issue?.message}`;
    throw new MillraceError('EVENT_INVALID', message);
  }
  const key = definition.key(checked.value);
  return {
    eventId: newEventId(),
    eventType: definition.type,
    version: definition.version,
    tenantId: input.tenantId,
    key,
    timestamp: new Date(input.timestamp ?? Date.now()).toISOString(),
    correlationId: cause?.correlationId ?? key ?? '',
    causationId: cause?.eventId ?? null,
    payload: freezeJson(checked.value),
    metadata: {},
    partition: 0,
    offset: index + 1,
  };
}
