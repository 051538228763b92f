/** A YAML template with handlers: a decision creates the steps that are needed, and no others. */
import {
  connect,
  defineDecisionHandler,
  defineHandler,
  fromInput,
  parseTemplate,
  workflowFromTemplate,
} from 'millrace';

const template = parseTemplate(`
name: refund
namespace_name: payments
version: 1.0.0
input_schema:
  type: object
  properties: { cents: { type: integer } }
  required: [cents]
steps:
  - { name: route, type: decision, handler: { callable: Refunds::Route } }
  - { name: pay_out, dependencies: [route], handler: { callable: Refunds::PayOut } }
  - { name: ask_manager, dependencies: [route], handler: { callable: Refunds::AskManager } }
  - name: write_letter
    type: deferred_convergence        # waits for those of its dependencies that were created
    dependencies: [pay_out, ask_manager]
    handler: { callable: Refunds::WriteLetter }
`);

const amount = { cents: fromInput<number>('cents') };
const handlers = [
  defineDecisionHandler('Refunds::Route', { inputs: amount }, ({ cents }) =>
    cents > 10_000 ? 'ask_manager' : 'pay_out',
  ),
  defineHandler('Refunds::PayOut', { inputs: amount }, ({ cents }) => `paid ${cents}`),
  defineHandler('Refunds::AskManager', {}, () => 'a manager was asked'),
  defineHandler('Refunds::WriteLetter', {}, ({ context }) => {
    const { pay_out, ask_manager } = context.dependencyResults;
    return `Dear customer: ${pay_out ?? ask_manager}.`;
  }),
];

await using mill = await connect(process.env.DATABASE_URL);
const refund = workflowFromTemplate(template, handlers);
mill.workflows.work(refund);
await mill.start();

for (const cents of [500, 50_000]) {
  const run = await mill.workflows.start(refund, { cents });
  console.log(await run.result());
}
await mill.workflows.start(refund, { cents: 'much' }).catch(({ message }) => console.log(message));
