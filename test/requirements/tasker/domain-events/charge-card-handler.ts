/** The handlers of the requirement's section 2.4, in TypeScript. */
import { StepHandler, type StepHandlerContext } from 'millrace';
import { processPayment } from './services.ts';

// #region document
export class ChargeCardHandler extends StepHandler {
  static override readonly handlerName = 'Payments::ChargeCardHandler';

  async call(ctx: StepHandlerContext) {
    const context = ctx.inputData as { amount: number; customer_id: string };
    const result = await processPayment(context);

    // Publish domain event (non-blocking)
    ctx.publishEvent('payment.charged', {
      payment_id: result.paymentId,
      amount: result.amount,
      currency: result.currency,
      customer_id: context.customer_id,
    });

    return this.success(result);
  }
}
// #endregion

export class HandleFailureHandler extends StepHandler {
  static override readonly handlerName = 'Payments::HandleFailureHandler';

  call(ctx: StepHandlerContext) {
    ctx.publishEvent('payment.failed', {
      payment_id: 'pay_123',
      error_code: 'card_declined',
      error_message: 'The card was declined.',
    });
    return this.success({ handled: true });
  }
}
