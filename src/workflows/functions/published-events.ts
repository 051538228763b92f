/**
 * Domain events that a durable function or its steps publish, as they go with a commit. Those of a
 * try go out when the condition of their declaration says so.
 */
import { MillraceError } from '../../core/errors.ts';
import type { StepOutcome } from '../../core/workflow/domain-event.ts';
import type { PreparedDomainEvents } from '../../events/domain/step-events.ts';
import { originOf } from '../run/event-origin.ts';
import type { FunctionRun } from './function-run.ts';
import type { Entry } from './ledger.ts';

type Published = readonly (readonly [name: string, payload: unknown])[];

const none: PreparedDomainEvents = Object.freeze({ routed: [], dispatch: async () => {} });

/** Never throws: failing to publish does not fail a step; it is logged and counted. */
export function eventsOf(
  { run, rules }: FunctionRun,
  { step }: Entry,
  published: Published,
  outcome: StepOutcome,
): PreparedDomainEvents {
  if (published.length === 0 || run.stepEvents === undefined) return none;
  const asked = new Set(published.map(([event]) => event));
  const declarations = rules.publishesEvents.filter(({ name }) => asked.has(name));
  return run.stepEvents.prepare(originOf(run, step, declarations), outcome, published);
}

/** @throws MillraceError WORKFLOW_INVALID */
export function checkDeclared({ rules }: FunctionRun, event: string): void {
  if (rules.publishesEvents.some(({ name }) => name === event)) return;
  throw new MillraceError(
    'WORKFLOW_INVALID',
    `Workflow ${rules.name} publishes '${event}', which it does not declare.`,
    { fix: `Add '${event}' to its publishesEvents.`, details: { event } },
  );
}
