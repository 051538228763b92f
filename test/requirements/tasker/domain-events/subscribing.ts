/** The three subscriptions of the requirement's section 2.3, in TypeScript. */
import type { Millrace } from 'millrace';
import type { Services } from './services.ts';

interface Failure {
  readonly payment_id: string;
  readonly error_code: string;
}

export function subscribing(mill: Millrace, services: Services): void {
  const { slackNotifier, sentryClient, pagerDutyClient, auditLog } = services;
  // #region document
  // Where the process starts, beside mill.workflows.work(…)
  mill.events.subscribe('payment.charged', async (event) => {
    // event has name, payload and metadata
    const { payment_id, amount } = event.payload as { payment_id: string; amount: number };
    await slackNotifier.send({
      channel: '#payments',
      text: `Payment ${payment_id} charged: $${amount}`,
    });
  });

  mill.events.subscribe('payment.failed', { delivery: 'durable' }, async (event) => {
    // Durable delivery ensures at-least-once processing
    const { error_code } = event.payload as Failure;
    await sentryClient.captureMessage(`Payment failed: ${error_code}`, { extra: event.payload });
    await pagerDutyClient.alert({ summary: `Payment failure: ${error_code}`, severity: 'high' });
  });

  // Pattern-based subscription
  mill.events.subscribe('payment.*', async (event) => {
    await auditLog.record({
      eventName: event.name,
      payload: event.payload,
      timestamp: event.metadata.fired_at,
    });
  });
  // #endregion
}
