/** What the compiler must and must not accept of domain events, with and without the map. */
import type { DomainEvent, Millrace, SqlTransaction } from 'millrace';

declare module 'millrace' {
  interface DomainEventMap {
    'types_only.charged': { readonly id: string; readonly amount: number };
    'types_only.failed': { readonly code: string };
  }
}

export function publishes({ events }: Millrace): void {
  const to = { tenantId: 't' };
  void events.publish('types_only.charged', { id: 'p', amount: 1 }, to);
  // @ts-expect-error the amount is missing
  void events.publish('types_only.charged', { id: 'p' }, to);
  // @ts-expect-error a code is text
  void events.publish('types_only.failed', { code: 1 }, to);
  // @ts-expect-error whose is it?
  void events.publish('types_only.failed', { code: 'x' }, {});
  // Not in the map: whatever its schema allows.
  void events.publish('not.in_the_map', { anything: true }, to);
}

export function subscribes({ events }: Millrace): void {
  events.subscribe('types_only.charged', ({ name, payload }) => {
    const exact: 'types_only.charged' = name;
    const amount: number = payload.amount;
    // @ts-expect-error payloads are frozen
    payload.amount = 2;
    return [exact, amount];
  });
  events.subscribe('types_only.*', (event) => {
    if (event.name === 'types_only.failed') return event.payload.code;
    return event.payload.amount.toFixed(2);
  });
  events.subscribe('not.in_the_map', (event: DomainEvent) => {
    // @ts-expect-error unknown until it is checked
    return event.payload.amount;
  });
  events.subscribe('types_only.failed', { delivery: 'acknowledged' }, ({ payload }, { tx }) => {
    const transaction: SqlTransaction = tx;
    return [transaction, payload.code];
  });
  events.subscribe('types_only.failed', { delivery: 'durable' }, (_, context) => {
    // @ts-expect-error only acknowledged handlers have a transaction
    return context.tx;
  });
  // @ts-expect-error an event comes by one way
  events.subscribe('types_only.failed', { delivery: 'broadcast' }, () => {});
}
