/**
 * The graph of a template's steps, compiled once and never evaluated again: numbers instead of
 * names, how many steps each one waits for, who waits for it, in which order they can run. Called
 * by `compileTemplate`; drivers count in-degrees down and look nothing up by name.
 *
 * Invariant: frozen; `order` has every step after all that it depends on.
 */
import { suggestName } from '../nearest-name.ts';
import { checkKinds } from './graph-kinds.ts';

export const stepTypes = [
  'standard',
  'decision',
  'deferred_convergence',
  'batchable',
  'batch_worker',
] as const;
export type StepType = (typeof stepTypes)[number];

export const workflowLimits = Object.freeze({
  steps: 1_000,
  /** Steps one after the other, on the longest way. */
  depth: 50,
  /** That one outcome of a decision may create. */
  stepsPerDecision: 100,
  /** Decisions one after the other. */
  decisionDepth: 20,
});

/** What the graph needs to know of a step. */
export interface GraphStep {
  readonly name: string;
  readonly type: StepType;
  readonly dependencies: readonly string[];
  /** Of a batchable step: the step that its batches are instances of. */
  readonly workerTemplate: string | null;
}

export interface GraphNode {
  /** Place in the template; numbers of this graph all mean it. */
  readonly no: number;
  readonly name: string;
  readonly type: StepType;
  /** Steps that come first, in the order they were written. */
  readonly dependsOn: readonly number[];
  /** Steps that wait for this one. */
  readonly dependents: readonly number[];
  /** `dependsOn.length`: what a counter starts from. */
  readonly inDegree: number;
  /** 1 for steps that wait for none. */
  readonly depth: number;
  /**
   * False for deferred_convergence and batch_worker, and for all that comes after a decision or
   * after one of these: an outcome creates them.
   */
  readonly createdAtStart: boolean;
  /**
   * Decisions and batchable steps on the ways to it, in topological order: who waits for the
   * created ones of its dependencies may begin when each of these that exists has its outcome.
   */
  readonly settledBy: readonly number[];
  /** Of a batchable step: number of its worker template. */
  readonly worker: number | null;
}

export interface TemplateGraph {
  /** By number. */
  readonly nodes: readonly GraphNode[];
  /** Topological; of steps that could come next, the one written first. */
  readonly order: readonly number[];
  /** Those created at start, in topological order. */
  readonly initial: readonly number[];
  /** Steps on the longest way. */
  readonly depth: number;
  find(name: string): GraphNode | undefined;
}

/** Something wrong, at a place of the template's value. */
export interface TemplateProblem {
  /** `['steps', 2, 'dependencies', 0]` */
  readonly path: readonly (string | number)[];
  readonly message: string;
  readonly hint: string | null;
  /** The name of the field is wrong, not its value. */
  readonly at?: 'name';
}

export type GraphResult =
  | { readonly graph: TemplateGraph; readonly problems: readonly [] }
  | { readonly graph: null; readonly problems: readonly TemplateProblem[] };

/** Checks and compiles; every problem is reported at once. Linear in steps and dependencies. */
export function compileGraph(steps: readonly GraphStep[]): GraphResult {
  const problems: TemplateProblem[] = [];
  const numbers = numberSteps(steps, problems);
  const dependsOn = resolveDependencies(steps, numbers, problems);
  const { order, depths } = sortSteps(dependsOn);
  if (order.length < steps.length) {
    problems.push(...describeCycles(steps, dependsOn, new Set(order)));
    return { graph: null, problems };
  }
  checkLimits(steps, order, depths, dependsOn, problems);
  checkKinds(steps, dependsOn, problems);
  if (problems.length > 0) return { graph: null, problems };
  return { graph: assemble(steps, dependsOn, order, depths), problems: [] };
}

function numberSteps(
  steps: readonly GraphStep[],
  problems: TemplateProblem[],
): ReadonlyMap<string, number> {
  const numbers = new Map<string, number>();
  steps.forEach(({ name }, no) => {
    const first = numbers.get(name);
    if (first === undefined) {
      numbers.set(name, no);
      return;
    }
    problems.push({
      path: ['steps', no, 'name'],
      message: `there are two steps named '${name}': steps[${first}] and steps[${no}]`,
      hint: 'Names are unique within a template; rename one and the dependencies on it.',
    });
  });
  return numbers;
}

function resolveDependencies(
  steps: readonly GraphStep[],
  numbers: ReadonlyMap<string, number>,
  problems: TemplateProblem[],
): readonly (readonly number[])[] {
  return steps.map(({ name, dependencies }, no) => {
    const found: number[] = [];
    dependencies.forEach((dependency, place) => {
      const path = ['steps', no, 'dependencies', place];
      const other = numbers.get(dependency);
      if (other === undefined) {
        problems.push({
          path,
          message: `'${name}' depends on '${dependency}', and there is no such step`,
          hint: suggestName(dependency, numbers.keys()),
        });
      } else if (found.includes(other)) {
        const message = `'${name}' depends on '${dependency}' twice`;
        problems.push({ path, message, hint: 'Remove one of them.' });
      } else {
        found.push(other);
      }
    });
    return found;
  });
}

/** Kahn's algorithm. Steps of cycles, and those behind them, are missing from the order. */
function sortSteps(dependsOn: readonly (readonly number[])[]): {
  readonly order: readonly number[];
  readonly depths: readonly number[];
} {
  const dependents = reverse(dependsOn);
  const waiting = dependsOn.map((before) => before.length);
  const depths = dependsOn.map(() => 1);
  const order: number[] = [];
  let level = waiting.flatMap((count, no) => (count === 0 ? [no] : []));
  while (level.length > 0) {
    const next: number[] = [];
    for (const no of level) {
      order.push(no);
      for (const other of dependents[no] as readonly number[]) {
        waiting[other] = (waiting[other] as number) - 1;
        if (waiting[other] > 0) continue;
        depths[other] = (depths[no] as number) + 1;
        next.push(other);
      }
    }
    level = next.sort((a, b) => a - b);
  }
  return { order, depths };
}

function reverse(dependsOn: readonly (readonly number[])[]): readonly (readonly number[])[] {
  const dependents: number[][] = dependsOn.map(() => []);
  dependsOn.forEach((before, no) => {
    for (const other of before) dependents[other]?.push(no);
  });
  return dependents;
}

/** One for each cycle there is, as the path that leads around it. */
function describeCycles(
  steps: readonly GraphStep[],
  dependsOn: readonly (readonly number[])[],
  sorted: ReadonlySet<number>,
): TemplateProblem[] {
  const problems: TemplateProblem[] = [];
  const seen = new Set(sorted);
  for (let start = 0; start < steps.length; start += 1) {
    if (seen.has(start)) continue;
    // Every unsorted step waits for an unsorted one: going back must come round, or meet what
    // was reported already.
    const trail: number[] = [];
    let at: number | undefined = start;
    while (at !== undefined && !seen.has(at)) {
      seen.add(at);
      trail.push(at);
      at = (dependsOn[at] as readonly number[]).find((other) => !sorted.has(other));
    }
    const from = at === undefined ? -1 : trail.indexOf(at);
    if (from < 0) continue;
    // Turned round: dependencies point back, people read forwards.
    const round = trail.slice(from).reverse();
    const first = Math.min(...round);
    const turned = [...round.slice(round.indexOf(first)), ...round.slice(0, round.indexOf(first))];
    const names = [...turned, first].map((no) => (steps[no] as GraphStep).name);
    problems.push({
      path: ['steps', first, 'dependencies'],
      message: `steps depend on each other in a circle: ${names.join(' → ')}`,
      hint: 'Remove one of these dependencies.',
    });
  }
  return problems;
}

function checkLimits(
  steps: readonly GraphStep[],
  order: readonly number[],
  depths: readonly number[],
  dependsOn: readonly (readonly number[])[],
  problems: TemplateProblem[],
): void {
  if (steps.length > workflowLimits.steps) {
    problems.push({
      path: ['steps'],
      message: `has ${steps.length} steps, ${workflowLimits.steps} are allowed`,
      hint: 'Use a batchable step, or start child runs from a step.',
    });
  }
  const tooDeep = order.find((no) => (depths[no] as number) > workflowLimits.depth);
  if (tooDeep !== undefined) {
    const { name } = steps[tooDeep] as GraphStep;
    const { depth } = workflowLimits;
    problems.push({
      path: ['steps', tooDeep],
      message: `'${name}' is step ${depths[tooDeep]} of a chain, ${depth} are allowed`,
      hint: 'Join steps that always follow each other, or write a durable function.',
    });
  }
  const decisions = steps.map(() => 0);
  for (const no of order) {
    const before = (dependsOn[no] as readonly number[]).map((other) => decisions[other] as number);
    const { type, name } = steps[no] as GraphStep;
    decisions[no] = Math.max(0, ...before) + (type === 'decision' ? 1 : 0);
    if (type !== 'decision' || decisions[no] <= workflowLimits.decisionDepth) continue;
    problems.push({
      path: ['steps', no],
      message:
        `'${name}' is decision ${decisions[no]} of a chain,` +
        ` ${workflowLimits.decisionDepth} are allowed`,
      hint: 'Let one decision choose among all that these choose one by one.',
    });
  }
}

function assemble(
  steps: readonly GraphStep[],
  dependsOn: readonly (readonly number[])[],
  order: readonly number[],
  depths: readonly number[],
): TemplateGraph {
  const dependents = reverse(dependsOn);
  const place = new Map(order.map((no, at) => [no, at]));
  const byName = new Map(steps.map(({ name }, no) => [name, no]));
  const atStart: boolean[] = [];
  const settledBy: ReadonlySet<number>[] = [];
  for (const no of order) {
    const { type } = steps[no] as GraphStep;
    const before = dependsOn[no] as readonly number[];
    const settlers = new Set<number>();
    for (const other of before) {
      for (const settler of settledBy[other] as ReadonlySet<number>) settlers.add(settler);
      if (isSettler(steps[other] as GraphStep)) settlers.add(other);
    }
    settledBy[no] = settlers;
    atStart[no] =
      type !== 'deferred_convergence' &&
      type !== 'batch_worker' &&
      before.every((other) => atStart[other] && steps[other]?.type !== 'decision');
  }
  const nodes = steps.map(({ name, type, workerTemplate }, no): GraphNode => {
    const before = dependsOn[no] as readonly number[];
    const settlers = [...(settledBy[no] as ReadonlySet<number>)];
    settlers.sort((a, b) => (place.get(a) as number) - (place.get(b) as number));
    return Object.freeze({
      no,
      name,
      type,
      dependsOn: Object.freeze([...before]),
      dependents: Object.freeze([...(dependents[no] as readonly number[])]),
      inDegree: before.length,
      depth: depths[no] as number,
      createdAtStart: atStart[no] as boolean,
      settledBy: Object.freeze(settlers),
      worker: workerTemplate === null ? null : (byName.get(workerTemplate) as number),
    });
  });
  return Object.freeze({
    nodes: Object.freeze(nodes),
    order: Object.freeze([...order]),
    initial: Object.freeze(order.filter((no) => atStart[no])),
    depth: Math.max(0, ...depths),
    find: (name: string) => nodes[byName.get(name) ?? -1],
  });
}

function isSettler({ type }: GraphStep): boolean {
  return type === 'decision' || type === 'batchable';
}
