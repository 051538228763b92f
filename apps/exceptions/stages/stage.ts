/**
 * What a stage is: a subscription whose handler is stateless and gives the same follow-up events
 * whenever it sees the same event. Time comes from the events, never from a clock, so a retry after
 * a crash decides as the first try did. Which events a stage reads is what it is delivered.
 */
import { type EventDefinition, MillraceError, permanentFailure, type StoredEvent } from 'millrace';
import type { Scope } from '../packs/compiled.ts';
import type { Packs } from '../packs/load.ts';

/** The part of the engine's HandlerContext that stages use. */
export interface StageContext {
  /** 1 for the first delivery. */
  readonly attempt: number;
  readonly signal: AbortSignal;
  /** A follow-up event, committed together with the cursor; inherits tenant, key, correlation. */
  publish<P>(
    definition: EventDefinition<P>,
    input: { readonly payload: P; readonly key?: string | null },
  ): void;
}

export interface Stage {
  readonly group: string;
  readonly events: readonly EventDefinition[];
  handle(event: StoredEvent, context: StageContext): void | Promise<void>;
}

/** The payload type of an event definition. */
export type PayloadOf<D> = D extends EventDefinition<infer P> ? P : never;

/** An event whose payload type is known. */
export type EventWith<P> = StoredEvent & { readonly payload: P };

/** Narrows an event to a definition; the engine has decoded it by that definition. */
export function isEvent<P>(
  definition: EventDefinition<P>,
  event: StoredEvent,
): event is EventWith<P> {
  return event.eventType === definition.type;
}

/** The scope of an event's tenant and domain; an unknown domain is a permanent failure. */
export function scopeOf(packs: Packs, event: StoredEvent, domain: string): Scope {
  const scope = packs.scope(event.tenantId, domain);
  if (scope !== undefined) return scope;
  try {
    return packs.requireScope(event.tenantId, domain);
  } catch (error) {
    if (error instanceof MillraceError) throw permanentFailure(error.message);
    throw error;
  }
}

/** ISO 8601 time `milliseconds` after another. */
export function laterBy(time: string, milliseconds: number): string {
  return new Date(Date.parse(time) + milliseconds).toISOString();
}
