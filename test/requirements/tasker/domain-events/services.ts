/** Slack, Sentry, PagerDuty and the rest, as the examples call them. */
export interface Services {
  readonly slackNotifier: { send(message: { channel: string; text: string }): Promise<void> };
  readonly sentryClient: { captureMessage(text: string, more: { extra: unknown }): Promise<void> };
  readonly pagerDutyClient: { alert(alert: { summary: string; severity: string }): Promise<void> };
  readonly auditLog: {
    record(entry: { eventName: string; payload: unknown; timestamp: string }): Promise<void>;
  };
}

export interface Charge {
  readonly paymentId: string;
  readonly amount: number;
  readonly currency: string;
}

/** The payment provider of the handler. */
export function processPayment(context: { amount: number }): Promise<Charge> {
  return Promise.resolve({ paymentId: 'pay_123', amount: context.amount, currency: 'USD' });
}
