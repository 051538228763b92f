/**
 * What a handler is given: its event's identity for follow-up events, the transaction, and a
 * signal. Everything it publishes stays in the context until the batch is settled; a handler that
 * fails leaves nothing behind.
 */
import { MillraceError } from '../../core/errors.ts';
import {
  type EventDefinition,
  type EventInput,
  type PreparedEvent,
  type PrepareOptions,
  prepareEvent,
  type StoredEvent,
} from '../../core/event.ts';
import { partitionFor } from '../../core/partition.ts';
import { type RoutedEvent, routeTo, type SqlTransaction } from '../../ports/store.ts';
import type { Effects, EffectTurn } from './effects.ts';

/** A follow-up event: tenant, key and correlation come from the event that caused it. */
export type FollowUp<P> = Omit<EventInput<P>, 'tenantId' | 'causationId'> & {
  readonly tenantId?: string;
};

const noEvents: readonly RoutedEvent[] = [];

function prepareFollowUp<P>(
  definition: EventDefinition<P>,
  input: FollowUp<P>,
  cause: StoredEvent,
  { partitions, prepare }: Pick<ContextShared, 'partitions' | 'prepare'>,
): RoutedEvent {
  const tenantId = input.tenantId ?? cause.tenantId;
  const key =
    input.key === undefined ? (definition.key(input.payload as P) ?? cause.key) : input.key;
  const followUp = {
    ...input,
    ...traceOf(input, cause),
    tenantId,
    key,
    correlationId: input.correlationId ?? cause.correlationId,
    causationId: cause.eventId,
  };
  const prepared: PreparedEvent = prepareEvent<unknown>(
    definition as EventDefinition,
    followUp,
    prepare,
  );
  // The usual case, the cause's own key, needs no hash.
  const partition =
    key === cause.key && tenantId === cause.tenantId
      ? cause.partition
      : partitionFor(tenantId, key, partitions);
  return routeTo(partition, prepared);
}

const noTrace = Object.freeze({});

/** A follow-up stays in the trace of what caused it. */
function traceOf<P>({ metadata }: FollowUp<P>, cause: StoredEvent) {
  const { traceparent } = cause.metadata;
  if (traceparent === undefined || metadata?.traceparent !== undefined) return noTrace;
  return { metadata: { ...metadata, traceparent } };
}

/** What both kinds of context share; the engine closes it when the handler has ended. */
abstract class Context {
  readonly #stream: AbortSignal;
  readonly #effects: Effects;
  readonly #tenantId: string;
  readonly #shared: ContextShared;
  #turn: Promise<EffectTurn> | null = null;
  #followUps: RoutedEvent[] | null = null;
  #closed = false;
  #timer: AbortController | null = null;
  #signal: AbortSignal | null = null;

  constructor(tenantId: string, shared: ContextShared) {
    this.#tenantId = tenantId;
    this.#effects = shared.effects;
    this.#stream = shared.signal;
    this.#shared = shared;
  }

  /**
   * The transaction that commits with the cursor. Row-level security shows the event's tenant only.
   * Handlers of one partition take turns in it, so do slow things before the first call.
   */
  async tx(): Promise<SqlTransaction> {
    this.#assertOpen();
    this.#turn ??= this.#effects.enter();
    const turn = await this.#turn;
    return turn.forTenant(this.#tenantId);
  }

  /**
   * Aborted when the handler's time is over, the lease is lost, or a shutdown waits no longer.
   * Made when asked for: most handlers never do, and it costs more than they do.
   */
  get signal(): AbortSignal {
    this.#timer ??= new AbortController();
    this.#signal ??= AbortSignal.any([this.#stream, this.#timer.signal]);
    return this.#signal;
  }

  /** The engine's side: tells the handler to stop. */
  abort(reason: unknown): void {
    this.#timer ??= new AbortController();
    this.#timer.abort(reason);
  }

  /** The engine's side: what the handler published, and the end of the context. */
  close(): readonly RoutedEvent[] {
    this.#closed = true;
    return this.#followUps ?? noEvents;
  }

  /** The engine's side: the turn in the transaction, if the handler took one. */
  get turn(): Promise<EffectTurn> | null {
    return this.#turn;
  }

  protected add<P>(definition: EventDefinition<P>, input: FollowUp<P>, cause: StoredEvent): string {
    this.#assertOpen();
    const routed = prepareFollowUp(definition, input, cause, this.#shared);
    if (this.#followUps === null) this.#followUps = [routed];
    else this.#followUps.push(routed);
    return routed.event.eventId;
  }

  #assertOpen(): void {
    if (!this.#closed) return;
    throw new MillraceError('HANDLER_FAILED', 'The handler of this context has ended already.', {
      fix: 'Await everything the handler starts before it returns.',
    });
  }
}

export interface ContextShared {
  readonly effects: Effects;
  readonly partitions: number;
  readonly signal: AbortSignal;
  /** How follow-up events are prepared: with redaction, or without. */
  readonly prepare: PrepareOptions;
}

/** For `handle`. */
export class HandlerContext extends Context {
  readonly event: StoredEvent;
  /** 1 for the first call. */
  readonly attempt: number;

  constructor(event: StoredEvent, attempt: number, shared: ContextShared) {
    super(event.tenantId, shared);
    this.event = event;
    this.attempt = attempt;
  }

  /** Publishes a follow-up event, committed with the cursor. Answers with its id. */
  publish<P>(definition: EventDefinition<P>, input: FollowUp<P>): string {
    return this.add(definition, input, this.event);
  }
}

/** For `handleBatch`. */
export class BatchContext extends Context {
  readonly tenantId: string;
  readonly attempt: number;
  readonly failed = new Map<StoredEvent, unknown>();

  constructor(tenantId: string, attempt: number, shared: ContextShared) {
    super(tenantId, shared);
    this.tenantId = tenantId;
    this.attempt = attempt;
  }

  publish<P>(definition: EventDefinition<P>, input: FollowUp<P>, cause: StoredEvent): string {
    return this.add(definition, input, cause);
  }

  /**
   * Reports one event of the batch as failed. The batch's effects are undone and it is called again
   * without that event and the later ones of its key.
   */
  fail(event: StoredEvent, reason: unknown): void {
    this.failed.set(event, reason);
  }
}
