/** What definitions leave open is decided in one place, whichever front end made them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventRegistry } from '../events/domain/event-registry.ts';
import { readSettings } from '../events/domain/options.ts';
import { defineTask } from './dag/define-task.ts';
import { workflowFromTemplate } from './dag/definition.ts';
import {
  type AnyWorkflowDefinition,
  completeLifecycle,
  defaultLifecycle,
  type LifecycleChoice,
} from './definition.ts';
import { defineWorkflow } from './functions/define-workflow.ts';
import { compileSchema } from './template/json-schema.ts';
import { parseTemplate } from './template/load.ts';

const event = { name: 'thing.done' };

/** The same by every way there is. */
function definitionsWith(lifecycle: LifecycleChoice | undefined): readonly AnyWorkflowDefinition[] {
  const limit = lifecycle?.maxDurationMinutes;
  const yaml = `name: from_yaml
${limit === undefined ? '' : `lifecycle: { max_duration_minutes: ${limit} }`}
steps:
  - { name: one, handler: { callable: one }, publishes_events: [{ name: thing.done }] }`;
  const said = lifecycle as { maxDurationMinutes: number } | undefined;
  const options = said === undefined ? {} : { lifecycle: said };
  return [
    defineWorkflow('a-function', { publishesEvents: [event], ...options }, async () => 1),
    defineTask('a_task', options)
      .step('one', { publishes: [event], handler: () => 1 })
      .build(),
    workflowFromTemplate(parseTemplate(yaml), { one: () => 1 }),
  ];
}

test('events that say nothing go by the configured delivery, durable by default', () => {
  for (const defaultDelivery of [undefined, 'broadcast', 'fire_and_forget'] as const) {
    const settings = readSettings({ defaultDelivery });
    const registry = new EventRegistry(compileSchema, settings.defaultDelivery);
    for (const { namespace, name, version, publishesEvents } of definitionsWith(undefined)) {
      registry.declare(namespace, publishesEvents, { name, version });
    }
    const { declaredBy = [] } = registry.describe(event.name) ?? {};
    const wanted = defaultDelivery ?? 'durable';
    assert.deepEqual(
      declaredBy.map(({ workflow, delivery }) => `${workflow} ${delivery}`),
      [`a-function ${wanted}`, `a_task ${wanted}`, `from_yaml ${wanted}`],
    );
  }
});

test('a lifecycle is what was said, and the rest as configured', () => {
  const configured = { ...defaultLifecycle, maxDurationMinutes: 77, autoFailOnTimeout: true };
  for (const { name, lifecycle } of definitionsWith(undefined)) {
    assert.deepEqual(completeLifecycle(lifecycle, configured), configured, name);
  }
  for (const { name, lifecycle } of definitionsWith({ maxDurationMinutes: 5 })) {
    const wanted = { ...configured, maxDurationMinutes: 5 };
    assert.deepEqual(completeLifecycle(lifecycle, configured), wanted, name);
  }
});

test('no limit at all is something that is said', () => {
  const configured = completeLifecycle({ maxDurationMinutes: 9 });
  assert.equal(
    completeLifecycle({ maxDurationMinutes: null }, configured).maxDurationMinutes,
    null,
  );
});
