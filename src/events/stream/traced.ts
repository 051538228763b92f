/** Handlers of events in spans of their own, below the trace that their event carries. */
import type { StoredEvent } from '../../core/event.ts';
import type { Tracing } from '../../ports/tracing.ts';
import type { Subscription } from './subscription.ts';

/** The subscription as it is, with its handler inside a span. Batches have many traces, so none. */
export function traced(subscription: Subscription, tracing: Tracing): Subscription {
  if (!subscription.handle) return subscription;
  const { group } = subscription;
  return {
    ...subscription,
    handle: (event, context) =>
      tracing.run(
        {
          name: 'event.handle',
          traceparent: traceparentOf(event),
          attributes: {
            'millrace.event.id': event.eventId,
            'millrace.event.type': event.eventType,
            'millrace.group': group,
            'tasker.tenant_id': event.tenantId,
          },
        },
        () => subscription.handle(event, context),
      ),
  };
}

export function traceparentOf({ metadata }: Pick<StoredEvent, 'metadata'>): string | null {
  const { traceparent } = metadata;
  return typeof traceparent === 'string' ? traceparent : null;
}
