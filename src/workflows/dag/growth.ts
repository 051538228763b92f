/**
 * Which steps there are: those that are created at start, and those that outcomes create. Looked at
 * when a run begins, is taken over, and when a decision or a batchable step has its outcome; asking
 * again changes nothing.
 *
 *   branch         chosen by name by a decision before it; not chosen: left out
 *   batch worker   one instance for each batch of its batchable step, all in one commit
 *   convergence    when it is known of all it depends on whether there are any, and some there are
 *   others         with all that they depend on; left out when one of these is
 */

import { isMillraceError } from '../../core/errors.ts';
import type { GraphNode } from '../../core/workflow/graph.ts';
import { instanceNumber, readBatches, readDecision } from '../steps/outcomes.ts';
import { type LiveGraph, leftOutNote } from './live-graph.ts';
import type { LiveStep } from './live-step.ts';
import type { PendingDraft } from './pending-draft.ts';
import type { PlannedStep } from './plan.ts';

/** Whether a step of the template takes part in the run. */
type Part = 'open' | 'in' | 'out';

/** True: there are steps that there were not before. */
export function grow(live: LiveGraph, draft: PendingDraft): boolean {
  const { template, steps } = live.plan;
  const { order } = template.graph;
  const created: LiveStep[] = [];
  let revived = false;
  const parts: Part[] = [];
  const chosen = chosenSteps(live);
  for (const no of order) {
    const planned = steps[no] as PlannedStep;
    parts[no] = partOf(live, planned, parts, chosen);
    if (parts[no] !== 'in') continue;
    for (const { name, inputsJson } of wantedOf(live, planned)) {
      const known = live.find(name);
      if (known?.active) continue;
      if (known === undefined) {
        const step = live.create(name, planned);
        step.inputsJson = inputsJson;
        created.push(step);
      } else {
        known.active = true;
        revived = true;
        draft.move(known, 'pending');
        if (inputsJson !== known.inputsJson)
          draft.learn(known, { inputsJson: inputsJson ?? 'null' });
      }
    }
  }
  if (created.length === 0 && !revived) return false;
  if (revived) noteLeftOut(live, draft);
  live.link();
  for (const { name, kind, template: of, dependsOn, inputsJson } of created) {
    draft.create({
      name,
      kind,
      dependsOn,
      ...(of !== name && { template: of }),
      ...(inputsJson !== null && { inputsJson }),
    });
  }
  return true;
}

export function noteLeftOut(live: LiveGraph, draft: PendingDraft): void {
  const out = live.steps.filter(({ active }) => !active).map(({ no }) => no);
  draft.note(leftOutNote, out.length === 0 ? null : JSON.stringify(out));
}

/** Names that the decisions which have their outcome chose. */
function chosenSteps(live: LiveGraph): ReadonlySet<string> {
  const chosen = new Set<string>();
  for (const step of live.steps) {
    if (!step.active || step.kind !== 'decision' || !step.satisfied) continue;
    for (const name of namesOf(step)) chosen.add(name);
  }
  return chosen;
}

/** A decision that was resolved by hand may have any result: it chose nothing then. */
function namesOf(step: LiveStep): readonly string[] {
  try {
    const outcome = readDecision(step.name, step.value);
    return outcome.type === 'create_steps' ? outcome.step_names : [];
  } catch (error) {
    if (isMillraceError(error)) return [];
    throw error;
  }
}

function partOf(
  live: LiveGraph,
  { node, owner }: PlannedStep,
  parts: readonly Part[],
  chosen: ReadonlySet<string>,
): Part {
  if (node.createdAtStart) return 'in';
  const { nodes } = live.plan.template.graph;
  if (owner !== null) {
    if (parts[owner] !== 'in') return parts[owner] as Part;
    const batchable = live.instancesOf(nodes[owner] as GraphNode)[0];
    return batchable?.satisfied ? 'in' : 'open';
  }
  const before = node.dependsOn.map((no) => nodes[no] as GraphNode);
  const some = (part: Part) => before.some(({ no }) => parts[no] === part);
  if (node.type === 'deferred_convergence') {
    if (some('open')) return 'open';
    return some('in') ? 'in' : 'out';
  }
  const deciders = before.filter(({ type }) => type === 'decision');
  if (deciders.length > 0) {
    if (chosen.has(node.name)) return some('open') ? 'open' : 'in';
    const undecided = deciders.some(
      (one) => parts[one.no] === 'open' || isUndecided(live, one, parts),
    );
    return undecided ? 'open' : 'out';
  }
  if (some('out')) return 'out';
  return some('open') ? 'open' : 'in';
}

function isUndecided(live: LiveGraph, node: GraphNode, parts: readonly Part[]): boolean {
  return parts[node.no] === 'in' && !live.instancesOf(node)[0]?.satisfied;
}

interface Wanted {
  readonly name: string;
  readonly inputsJson: string | null;
}

/** The step itself, or the instances of a batch worker. */
function wantedOf(live: LiveGraph, planned: PlannedStep): readonly Wanted[] {
  const { node, owner } = planned;
  if (owner === null) return [{ name: node.name, inputsJson: null }];
  return batchesOf(live, owner).map((cursor, i) => ({
    name: `${node.name}_${instanceNumber(i)}`,
    inputsJson: JSON.stringify(cursor),
  }));
}

function batchesOf(live: LiveGraph, owner: number): readonly unknown[] {
  const batchable = live.instancesOf(live.plan.template.graph.nodes[owner] as GraphNode)[0];
  if (!batchable?.satisfied) return [];
  try {
    const outcome = readBatches(batchable.name, batchable.value);
    return outcome.type === 'create_batches' ? outcome.cursor_configs : [];
  } catch (error) {
    // Resolved by hand, with whatever result: there is nothing to do.
    if (isMillraceError(error)) return [];
    throw error;
  }
}
