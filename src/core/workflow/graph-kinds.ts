/** What the types of steps ask of each other: decisions, convergences, batches and workers. */
import { suggestName } from '../nearest-name.ts';
import type { GraphStep, TemplateProblem } from './graph.ts';

/** Adds a problem for each step that its type forbids to stand where it stands. */
export function checkKinds(
  steps: readonly GraphStep[],
  dependsOn: readonly (readonly number[])[],
  problems: TemplateProblem[],
): void {
  const hasDependents = new Set(dependsOn.flat());
  const employers = new Map<string, string[]>();
  for (const { name, workerTemplate } of steps) {
    if (workerTemplate === null) continue;
    employers.set(workerTemplate, [...(employers.get(workerTemplate) ?? []), name]);
  }
  steps.forEach((step, no) => {
    const at = (...rest: (string | number)[]) => ['steps', no, ...rest];
    const complain = (path: (string | number)[], message: string, hint: string | null) =>
      problems.push({ path, message, hint });
    const { name, type, dependencies } = step;
    if (type === 'decision' && !hasDependents.has(no)) {
      complain(
        at('type'),
        `decision '${name}' has no step to choose: none depends on it`,
        `Add dependencies: [${name}] to the steps that it may create.`,
      );
    }
    if (type === 'deferred_convergence' && dependencies.length === 0) {
      complain(
        at('type'),
        `deferred_convergence '${name}' depends on nothing`,
        'Name in dependencies every step that may have been created.',
      );
    }
    if (type === 'batchable') checkBatchable(step, steps, problems, no);
    if (type === 'batch_worker') checkWorker(name, employers.get(name) ?? [], complain, at);
    (dependsOn[no] as readonly number[]).forEach((other, place) => {
      const before = steps[other] as GraphStep;
      if (before.type !== 'batch_worker' || type === 'deferred_convergence') return;
      complain(
        at('dependencies', place),
        `'${name}' depends on the batch_worker '${before.name}', of which there may be many`,
        `Give '${name}' the type deferred_convergence: it waits for all of them.`,
      );
    });
  });
}

type Complain = (path: (string | number)[], message: string, hint: string | null) => void;

function checkWorker(
  name: string,
  employers: readonly string[],
  complain: Complain,
  at: (...rest: (string | number)[]) => (string | number)[],
): void {
  if (employers.length === 1) return;
  const message =
    employers.length === 0
      ? `no batchable step names batch_worker '${name}'`
      : `batch_worker '${name}' is named by ${employers.join(' and ')}`;
  const hint =
    employers.length === 0
      ? `Set batch_config.worker_template: ${name} in the batchable step.`
      : 'Give each batchable step a worker of its own.';
  complain(at('type'), message, hint);
}

function checkBatchable(
  { name, workerTemplate }: GraphStep,
  steps: readonly GraphStep[],
  problems: TemplateProblem[],
  no: number,
): void {
  // Its absence is reported with the other fields.
  if (workerTemplate === null) return;
  const path = ['steps', no, 'batch_config', 'worker_template'];
  const workerNo = steps.findIndex((step) => step.name === workerTemplate);
  const worker = steps[workerNo];
  if (worker === undefined) {
    const workers = steps.filter(({ type }) => type === 'batch_worker');
    const message = `'${name}' names worker_template '${workerTemplate}'; there is no such step`;
    const known = (workers.length > 0 ? workers : steps).map((step) => step.name);
    problems.push({ path, message, hint: suggestName(workerTemplate, known) });
  } else if (worker.type !== 'batch_worker') {
    problems.push({
      path,
      message: `worker_template '${workerTemplate}' of '${name}' is a ${worker.type} step`,
      hint: `Give '${workerTemplate}' the type batch_worker.`,
    });
  } else if (!worker.dependencies.includes(name)) {
    problems.push({
      path: ['steps', workerNo, 'dependencies'],
      message: `batch_worker '${worker.name}' does not depend on '${name}', which creates it`,
      hint: `Add '${name}' to its dependencies.`,
    });
  }
}
