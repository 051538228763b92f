/**
 * The handler of a step as the step runner calls it: with its context, and with its result made
 * complete and checked, so that what is wrong with it is the handler's own failure.
 */
import { MillraceError } from '../../core/errors.ts';
import { workflowLimits } from '../../core/workflow/graph.ts';
import type { StepTools } from '../run/driver.ts';
import { completeBatches, completeDecision, readDecision, refuse } from '../steps/outcomes.ts';
import { StepContext } from '../steps/step-context.ts';
import type { LiveStep } from './live-step.ts';
import type { DagPlan, PlannedStep } from './plan.ts';
import { type SourceParts, StepSource } from './step-source.ts';

/** @throws whatever the handler throws, and RESULT_INVALID. */
export function handleStep(parts: SourceParts, step: LiveStep, tools: StepTools): unknown {
  const { planned } = step;
  const context = new StepContext(new StepSource(parts, step), tools);
  const answer = planned.handler.call(context);
  if (isThenable(answer)) {
    return Promise.resolve(answer).then((value) => finishResult(parts.live.plan, planned, value));
  }
  return finishResult(parts.live.plan, planned, answer);
}

/**
 * A result as it is stored. Called for what operators give as well.
 * @throws MillraceError RESULT_INVALID
 */
export function finishResult(plan: DagPlan, planned: PlannedStep, value: unknown): unknown {
  const { compiled } = planned;
  const { name, type, batch } = compiled;
  let result = value;
  if (type === 'decision') {
    result = completeDecision(name, value);
    checkChoice(plan, planned, result);
  } else if (type === 'batchable' && batch !== null) result = completeBatches(name, value, batch);
  if (compiled.resultSchema === null) return result;
  const problems = planned.checkResult(result);
  if (problems.length === 0) return result;
  const said = problems.map(({ path, message }) => `${path} ${message}`).join('; ');
  throw new MillraceError('RESULT_INVALID', `Step '${name}': ${said}.`, {
    fix: 'Have the handler return what result_schema says, or correct the schema.',
    details: { step: name, problems },
  });
}

function checkChoice(plan: DagPlan, { compiled, node }: PlannedStep, result: unknown): void {
  const outcome = readDecision(compiled.name, result);
  if (outcome.type === 'no_branches') return;
  const { graph } = plan.template;
  const choices = node.dependents.map((no) => graph.nodes[no]?.name as string);
  const stranger = outcome.step_names.find((name) => !choices.includes(name));
  if (stranger !== undefined) {
    const known = graph.find(stranger) !== undefined;
    const problem = known ? 'which does not depend on it' : 'and there is no such step';
    throw refuse(
      compiled.name,
      `chose '${stranger}', ${problem}`,
      `It may choose among ${choices.join(', ')}.`,
    );
  }
  const { stepsPerDecision } = workflowLimits;
  if (outcome.step_names.length <= stepsPerDecision) return;
  throw refuse(
    compiled.name,
    `chose ${outcome.step_names.length} steps; ${stepsPerDecision} are allowed`,
    'Use a batchable step for many of a kind.',
  );
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as { readonly then?: unknown }).then === 'function'
  );
}
