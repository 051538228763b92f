/**
 * The steps of a run as a graph that is alive: which there are, what each waits for, which may
 * begin. A step that is done counts down those that come after it; the graph is linked anew only
 * when an outcome or an operator changes which steps there are.
 *
 * Dependencies are those that the template declares, of the steps that there are: a batch worker
 * stands for all its instances, a branch that nobody chose for nothing.
 */

import type { GraphNode } from '../../core/workflow/graph.ts';
import type { RunRecord } from '../../core/workflow/run-record.ts';
import { LiveStep } from './live-step.ts';
import type { DagPlan, PlannedStep } from './plan.ts';

/** Note of a run: numbers of steps that an outcome had created which does not count any more. */
export const leftOutNote = 'left_out';

export class LiveGraph {
  readonly plan: DagPlan;
  /** By number. */
  readonly steps: LiveStep[] = [];
  readonly #byName = new Map<string, LiveStep>();
  /** By number of the template's step. */
  readonly #byTemplate: LiveStep[][];
  /** Active and not done. */
  left = 0;

  constructor(plan: DagPlan) {
    this.plan = plan;
    this.#byTemplate = plan.steps.map(() => []);
  }

  /** Steps of a record that the template does not know stay as they are, and wait for nothing. */
  restore(record: RunRecord): void {
    const leftOut = new Set(JSON.parse(record.notes.get(leftOutNote) ?? '[]') as number[]);
    for (const one of record.steps) {
      const planned = this.plan.step(one.template) ?? (this.plan.steps[0] as PlannedStep);
      const step = LiveStep.restore(one, planned);
      step.active = !leftOut.has(step.no);
      this.#add(step);
    }
  }

  find(name: string): LiveStep | undefined {
    return this.#byName.get(name);
  }

  /** Those of a step of the template that take part, in the order of their numbers. */
  instancesOf({ no }: GraphNode): readonly LiveStep[] {
    return (this.#byTemplate[no] as readonly LiveStep[]).filter(({ active }) => active);
  }

  create(name: string, planned: PlannedStep): LiveStep {
    const step = new LiveStep(this.steps.length, name, planned);
    this.#add(step);
    return step;
  }

  #add(step: LiveStep): void {
    const { owner } = step.planned;
    const batch = owner === null ? null : this.plan.steps[owner]?.compiled.batch;
    step.failureStrategy = batch?.failureStrategy ?? null;
    this.steps.push(step);
    this.#byName.set(step.name, step);
    this.#byTemplate[step.planned.node.no]?.push(step);
  }

  /** Links steps to those before them and counts what each waits for. */
  link(): void {
    this.left = 0;
    for (const step of this.steps) {
      step.before = [];
      step.after = [];
      step.waitingFor = 0;
    }
    const nodes = this.plan.template.graph.nodes;
    for (const step of this.steps) {
      if (!step.active) continue;
      if (!step.done) this.left += 1;
      for (const no of step.planned.node.dependsOn) {
        for (const other of this.instancesOf(nodes[no] as GraphNode)) {
          step.before.push(other);
          other.after.push(step);
          if (!other.done) step.waitingFor += 1;
        }
      }
    }
  }

  /** To be called once when a step has become done. Answers those that may begin because of it. */
  settle(step: LiveStep): readonly LiveStep[] {
    if (!step.active) return [];
    this.left -= 1;
    const freed: LiveStep[] = [];
    for (const next of step.after) {
      next.waitingFor -= 1;
      if (next.waitingFor === 0) freed.push(next);
    }
    return freed;
  }

  /** The step and all that come after it, in an order in which each follows its dependencies. */
  from(start: LiveStep): readonly LiveStep[] {
    const reached = new Set([start]);
    for (const step of reached) for (const next of step.after) reached.add(next);
    return [...reached];
  }

  /** All steps before it, each once. */
  before(start: LiveStep): ReadonlySet<LiveStep> {
    const reached = new Set(start.before);
    for (const step of reached) for (const other of step.before) reached.add(other);
    return reached;
  }

  /**
   * What the run answers: results of the steps that none depends on, by name. Batches stand as a
   * list under the name of their worker template.
   */
  printResult(): string {
    const members: string[] = [];
    const nodes = this.plan.template.graph.nodes;
    const add = (name: string, json: string) => members.push(`${JSON.stringify(name)}:${json}`);
    for (const node of nodes) {
      const { owner } = this.plan.steps[node.no] as PlannedStep;
      const instances = this.instancesOf(node);
      const leaves = instances.filter(({ after }) => after.length === 0);
      const results = leaves.map(({ resultJson }) => resultJson ?? 'null');
      if (owner !== null) {
        const cut = this.instancesOf(nodes[owner] as GraphNode)[0]?.satisfied;
        const read = node.dependents.some((no) => this.instancesOf(nodes[no] as GraphNode)[0]);
        if (cut && !read) add(node.name, `[${results.join(',')}]`);
      } else if (results[0] !== undefined && node.type !== 'batchable') add(node.name, results[0]);
    }
    return `{${members.join(',')}}`;
  }
}
