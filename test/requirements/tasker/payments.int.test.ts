/**
 * The template of the distributed-event requirement (section 2.2, `process_payment`), run with
 * handlers: one card that is charged, one that is declined.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import {
  defineDecisionHandler,
  defineHandler,
  parseTemplate,
  StepHandler,
  type StepHandlerContext,
  workflowFromTemplate,
} from 'millrace';
import { freshDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { openMill } from '../../support/mill.ts';

const database = await freshDatabase();
after(() => database.drop());

/** As the requirement has it, but that the second step follows from what became of the first. */
const yaml = `
name: process_payment
namespace_name: payments
version: 1.0.0
identity: always_unique
input_schema:
  type: object
  properties:
    payment_id: { type: string }
    amount: { type: number, exclusiveMinimum: 0 }
  required: [payment_id, amount]
steps:
  - name: charge_card
    handler:
      callable: Payments::ChargeCardHandler
      initialization: { currency: USD }
    retry: { max_attempts: 2, backoff: none }
    publishes_events:
      - name: payment.charged
        description: "Fired when payment is successfully charged"
        schema:
          type: object
          properties:
            payment_id:
              type: string
            amount:
              type: number
            currency:
              type: string
            customer_id:
              type: string
          required: [payment_id, amount, currency]
        delivery: fire_and_forget

  - name: route
    type: decision
    dependencies: [charge_card]
    handler:
      callable: Payments::RouteHandler

  - name: handle_failure
    dependencies: [route]
    handler:
      callable: Payments::HandleFailureHandler
    publishes_events:
      - name: payment.failed
        description: "Fired when payment fails"
        schema:
          type: object
          properties:
            payment_id:
              type: string
            error_code:
              type: string
            error_message:
              type: string
          required: [payment_id, error_code]
        delivery: durable
`;

interface Charge {
  readonly payment_id: string;
  readonly amount: number;
  readonly declined: boolean;
}

class ChargeCardHandler extends StepHandler {
  static override readonly handlerName = 'Payments::ChargeCardHandler';

  call(ctx: StepHandlerContext) {
    const payment_id = ctx.getInput<string>('payment_id') as string;
    const amount = ctx.getInput<number>('amount') as number;
    if (payment_id === 'pay_slow' && !ctx.isRetry()) {
      return this.failure('the bank is busy', 'BankBusy', true);
    }
    const declined = amount > 500;
    if (!declined) {
      const { currency } = ctx.stepConfig;
      ctx.publishEvent('payment.charged', { payment_id, amount, currency });
    }
    return this.success({ payment_id, amount, declined }, { attempt: ctx.attempt });
  }
}

const route = defineDecisionHandler(
  'Payments::RouteHandler',
  { depends: { charge: 'charge_card' } },
  ({ charge }: { charge: Charge }) => (charge.declined ? 'handle_failure' : null),
);

const handleFailure = defineHandler(
  'Payments::HandleFailureHandler',
  { depends: { charge: 'charge_card' } },
  ({ charge }: { charge: Charge }) => ({
    payment_id: charge.payment_id,
    error_code: 'card_declined',
    error_message: 'The amount is above the limit of the card.',
  }),
);

test('a card is charged, or its failure is handled, and the events say so', async (t) => {
  const mill = await openMill(t, database.url);
  const template = parseTemplate(yaml, { file: 'process_payment.yaml' });
  const payment = workflowFromTemplate(template, [ChargeCardHandler, route, handleFailure]);
  mill.workflows.work(payment);
  const charged: unknown[] = [];
  const failed: unknown[] = [];
  mill.events.subscribe('payment.charged', (event) => void charged.push(event));
  mill.events.subscribe(
    'payment.failed',
    { delivery: 'durable' },
    (event) => void failed.push(event),
  );
  await mill.start();

  const good = await mill.workflows.start(payment, { payment_id: 'pay_slow', amount: 99.99 });
  assert.deepEqual(await good.result(), {
    route: { decision_point_outcome: { type: 'no_branches' } },
  });
  const bad = await mill.workflows.start(payment, { payment_id: 'pay_2', amount: 1_000 });
  const details = {
    payment_id: 'pay_2',
    error_code: 'card_declined',
    error_message: 'The amount is above the limit of the card.',
  };
  assert.deepEqual(await bad.result(), { handle_failure: details });

  await eventually('both are told', () => charged.length === 1 && failed.length === 1);
  const [event] = charged as { name: string; payload: object; metadata: Record<string, unknown> }[];
  assert.deepEqual(event?.payload, { payment_id: 'pay_slow', amount: 99.99, currency: 'USD' });
  const { task_uuid, step_name, namespace } = event?.metadata ?? {};
  assert.deepEqual([task_uuid, step_name, namespace], [good.runId, 'charge_card', 'payments']);
  assert.deepEqual((failed[0] as { payload: object }).payload, details);

  const run = await mill.workflows.get(good.runId);
  const step = run?.steps.find(({ name }) => name === 'charge_card');
  assert.equal(step?.attempts, 2);
  await assert.rejects(mill.workflows.start(payment, { payment_id: 'pay_3', amount: 0 }), {
    code: 'WORKFLOW_INPUT_INVALID',
    message: /input\.amount/,
  });
});

test('a template with an unknown handler is refused, and says which there are', () => {
  const template = parseTemplate(yaml.replace('ChargeCardHandler', 'ChargeCartHandler'));
  assert.throws(() => workflowFromTemplate(template, [ChargeCardHandler, route, handleFailure]), {
    code: 'WORKFLOW_INVALID',
    message: /Step 'charge_card' .* there is no handler 'Payments::ChargeCartHandler'/,
    fix: /Did you mean 'Payments::ChargeCardHandler'\?/,
  });
});
