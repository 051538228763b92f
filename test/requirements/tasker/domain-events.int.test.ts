/**
 * The examples of the requirement "Distributed Event System Architecture", part 2, in TypeScript:
 * the same template, handlers and subscriptions, run against a real store. docs/domain-events.md
 * shows the same code, and is compared with it here.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { defineTemplates } from 'millrace';
import { freshDatabase, type TestDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { ask, openMill, quickRetry } from '../../support/mill.ts';
import { ChargeCardHandler, HandleFailureHandler } from './domain-events/charge-card-handler.ts';
import { acknowledging, customPublisher, publishing } from './domain-events/publishing.ts';
import type { Services } from './domain-events/services.ts';
import { subscribing } from './domain-events/subscribing.ts';

const file = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');
const template = fileURLToPath(new URL('./domain-events/process-payment.yaml', import.meta.url));
const requirementUrl = new URL(
  '../../../../shared/requirements/distributed-event-system-tas-65.md',
  import.meta.url,
);

describe('the code of docs/domain-events.md', () => {
  const page = file('../../../docs/domain-events.md');
  const blocks = (language: string) =>
    [...page.matchAll(new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, 'gs'))].map(([, code = '']) =>
      code.trim(),
    );
  const regions = (module: string) =>
    [...file(module).matchAll(/\/\/ #region document\n(.*?)\/\/ #endregion/gs)].map(
      ([, code = '']) => {
        const indent = /^ */.exec(code)?.[0].length ?? 0;
        return code.replaceAll(new RegExp(`^ {${indent}}`, 'gm'), '').trim();
      },
    );

  it('is the code that is run here', () => {
    const [published, acknowledged, custom] = regions('./domain-events/publishing.ts');
    const code = [
      ...regions('./domain-events/charge-card-handler.ts'),
      published,
      custom,
      ...regions('./domain-events/subscribing.ts'),
      acknowledged,
    ];
    assert.equal(code.length, 5);
    assert.deepEqual(blocks('typescript'), code);
    assert.deepEqual(blocks('yaml'), [file('./domain-events/process-payment.yaml').trim()]);
  });

  const skip = existsSync(requirementUrl) ? false : 'the requirement document is not at hand';
  it('has the template of the requirement, word for word', { skip }, () => {
    const requirement = readFileSync(requirementUrl, 'utf8');
    assert.ok(requirement.includes(file('./domain-events/process-payment.yaml')));
  });
});

describe('the examples of the requirement', () => {
  let database: TestDatabase;
  before(async () => {
    database = await freshDatabase();
  });
  after(() => database.drop());

  it('steps publish, and the three subscriptions are called', async (t) => {
    await using mill = await openMill(t, database.url);
    const handlers = [ChargeCardHandler, HandleFailureHandler];
    const workflows = await defineTemplates(template, { handlers });
    mill.workflows.work(workflows);
    const slack: { channel: string; text: string }[] = [];
    const sentry: string[] = [];
    const pages: { summary: string; severity: string }[] = [];
    const audit: { eventName: string; payload: unknown; timestamp: string }[] = [];
    const services: Services = {
      slackNotifier: { send: async (message) => void slack.push(message) },
      sentryClient: { captureMessage: async (text) => void sentry.push(text) },
      pagerDutyClient: { alert: async (alert) => void pages.push(alert) },
      auditLog: { record: async (entry) => void audit.push(entry) },
    };
    subscribing(mill, services);
    await mill.start();
    const [workflow] = workflows;
    assert.ok(workflow);
    const input = { amount: 99.99, customer_id: 'c_1' };
    const run = await mill.workflows.start(workflow, input, { tenantId: 'acme' });
    await run.result();
    await eventually(
      'all are told',
      () => slack.length > 0 && pages.length > 0 && audit.length >= 2,
    );
    assert.deepEqual(slack, [{ channel: '#payments', text: 'Payment pay_123 charged: $99.99' }]);
    assert.deepEqual(sentry, ['Payment failed: card_declined']);
    assert.deepEqual(pages, [{ summary: 'Payment failure: card_declined', severity: 'high' }]);
    assert.deepEqual(audit.map(({ eventName }) => eventName).sort(), [
      'payment.charged',
      'payment.failed',
    ]);
    const { events } = await mill.history.list({ tenantId: 'acme' });
    const stored = events.filter(({ eventType }) => eventType === 'domain.payments.payment.failed');
    assert.equal(stored.length, 1, 'the durable one is in the log, the other one is not');
    assert.equal(
      events.some(({ eventType }) => eventType.endsWith('payment.charged')),
      false,
    );
    assert.equal(stored[0]?.key, run.runId);
    assert.equal(stored[0]?.metadata.step_name, 'handle_failure');
    assert.equal(mill.events.metrics().published.durable, 1);
    assert.equal(mill.events.metrics().published.fire_and_forget, 1);
  });

  it('publishing, acknowledging and a custom publisher work as shown', async (t) => {
    await using mill = await openMill(t, database.url);
    await ask(
      database.url,
      'create table ledger (invoice_id text); grant all on ledger to millrace_app',
    );
    mill.events.declare('billing', [{ name: 'invoice.booked', delivery: 'durable' }]);
    acknowledging(mill);
    customPublisher(mill);
    const booked: unknown[] = [];
    const options = { delivery: 'durable', retry: quickRetry } as const;
    mill.events.subscribe('invoice.booked', options, ({ payload }) => booked.push(payload));
    await mill.start();
    await mill.store.withTenant('acme', (tx) => publishing(mill, tx));
    await eventually('both are booked', () => booked.length === 2);
    const rows = await ask(database.url, 'select invoice_id from ledger order by 1');
    assert.deepEqual(rows, [{ invoice_id: 'inv_1' }, { invoice_id: 'inv_2' }]);
  });
});
