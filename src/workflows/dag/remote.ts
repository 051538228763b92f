/**
 * Steps whose handlers live in another namespace: a job goes to that namespace's queue with the
 * commit that enqueues the step, and a message comes back. The step and the job share a number that
 * no other try of the step has; an answer to an earlier try, or a second one, changes nothing.
 */
import type { JobErrorRecord } from '../../core/error-record.ts';
import { MillraceError } from '../../core/errors.ts';
import { parseStored } from '../../core/json.ts';
import { restoreTemplate } from '../../core/workflow/compile-template.ts';
import type { StoredMessage, StoredTemplate } from '../../ports/workflows.ts';
import type { HeldRun } from '../run/driver.ts';
import {
  parseRemoteStepResult,
  type RemoteStepResult,
  type RunRemoteStep,
  remoteStepJobFor,
} from '../run/remote-step.ts';
import {
  HandlerRegistry,
  type HandlerResolvers,
  type Handlers,
} from '../steps/handler-registry.ts';
import { viewFailure } from '../steps/step-failure.ts';
import { printStepResult } from '../steps/step-result.ts';
import { callStep } from '../steps/step-runner.ts';
import { type Failure, fail, succeed } from './endings.ts';
import { LiveGraph } from './live-graph.ts';
import type { LiveStep } from './live-step.ts';
import type { PendingDraft } from './pending-draft.ts';
import { DagPlan } from './plan.ts';
import { finishResult, handleStep } from './step-handle.ts';

/** What an answer is taken with, of the driver. */
interface AnsweredRun {
  readonly run: HeldRun;
  readonly live: LiveGraph;
  readonly draft: PendingDraft;
}

interface Address {
  readonly queue: string;
  readonly try: number;
}

/** Sends the step; it is enqueued already. */
export function send(run: HeldRun, draft: PendingDraft, step: LiveStep): void {
  const namespace = step.planned.elsewhere as string;
  const attempt = run.record.seq + 1;
  const job = remoteStepJobFor({ namespace, info: run.info, step: step.no, attempt });
  const address: Address = { queue: job.queue, try: attempt };
  draft.learn(step, { inputsJson: JSON.stringify({ ...inputsOf(step), ...address }) });
  draft.addJob(job);
}

function inputsOf({ inputsJson }: LiveStep): Partial<Address> {
  return inputsJson === null ? {} : (JSON.parse(inputsJson) as Partial<Address>);
}

/** The step that a message answers for; null: it is late, a duplicate, or for no step of ours. */
export function answeredStep(live: LiveGraph, message: StoredMessage): LiveStep | null {
  const step = live.steps[Number(message.name)];
  if (!step?.active || step.state !== 'enqueued' || step.planned.elsewhere === null) return null;
  const { attempt } = parseRemoteStepResult(message.payloadJson);
  return inputsOf(step).try === attempt ? step : null;
}

/** What the answer means, in the draft. 'again': it is tried again later. */
export function takeAnswer(
  { run, live, draft }: AnsweredRun,
  { step, message, now }: { step: LiveStep; message: StoredMessage; now: number },
): 'done' | 'again' | 'failed' {
  const answer = parseRemoteStepResult(message.payloadJson);
  const { events } = answer;
  draft.move(step, 'in_progress');
  const ending = answer.ok ? finishAnswer(live.plan, step, answer.resultJson) : failureOf(answer);
  if ('resultJson' in ending) {
    succeed(run, draft, step, { ...ending, events });
    return 'done';
  }
  return fail(run, draft, step, { ...ending, events, now }) ? 'again' : 'failed';
}

type Refused = Omit<Failure, 'events'>;

/**
 * The result as a handler's own would be stored. Who answers need not have a step runner, which
 * checks it; checking it again changes nothing.
 */
function finishAnswer(
  plan: DagPlan,
  { name, planned }: LiveStep,
  json: string | null,
): { readonly resultJson: string | null } | Refused {
  try {
    const value = json === null ? undefined : parseStored(json);
    return { resultJson: printStepResult(name, finishResult(plan, planned, value)) };
  } catch (thrown) {
    return viewFailure(thrown);
  }
}

function failureOf({ error, retryable, delayMs }: RemoteStepResult): Refused {
  return { error: error as JobErrorRecord, retryable, delayMs };
}

const plansMax = 200;

/**
 * Runs steps that other namespaces sent, with handlers of this process, whether or not it knows
 * their workflows.
 * @example
 * mill.workflows.plug({ runRemoteStep: remoteStepRunner([shipOrder]) });
 * mill.workflows.workOnSteps(['shipping']);
 */
export function remoteStepRunner(
  handlers: Handlers,
  resolvers: HandlerResolvers = {},
): RunRemoteStep {
  return runnerFor(new HandlerRegistry(handlers, resolvers));
}

export function runnerFor(registry: HandlerRegistry): RunRemoteStep {
  const plans = new Map<string, DagPlan>();
  const planOf = (stored: StoredTemplate) => {
    let plan = plans.get(stored.hash);
    if (plan === undefined) {
      if (plans.size >= plansMax) plans.clear();
      plan = new DagPlan(restoreTemplate(stored.definitionJson), registry, { lenient: true });
      plans.set(stored.hash, plan);
    }
    return plan;
  };
  return ({ run, info, record, step: { no }, template }) => {
    if (template === null) return null;
    const live = new LiveGraph(planOf(template));
    live.restore(record);
    live.link();
    const step = live.steps[no];
    if (step === undefined || registry.bind(step.planned.compiled.handler) === null) return null;
    const { compiled, attemptsMax } = step.planned;
    const parts = { info, input: run.input, live, saveCheckpoint: refuseCheckpoint };
    return callStep(run, {
      step,
      attempt: step.attempts + 1,
      attemptsMax,
      timeoutMs: compiled.timeoutMs,
      transactional: compiled.transactional,
      handle: (tools) => handleStep(parts, step, tools),
    });
  };
}

function refuseCheckpoint(step: LiveStep): Promise<never> {
  return Promise.reject(
    new MillraceError(
      'HANDLER_FAILED',
      `Step '${step.name}' runs for a run of another namespace, which keeps its checkpoints.`,
      { fix: 'Give the step to the namespace of its workflow, or do without checkpoints.' },
    ),
  );
}
