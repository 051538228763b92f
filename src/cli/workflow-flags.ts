/** The options of the commands about runs, and how runs are shown. */
import type { Command } from 'commander';
import type {
  InvestigationDocument,
  StepDocument,
  TaskDocument,
} from '../http/workflow-documents.ts';
import { colors as pc } from './colors.ts';
import type { DefinitionFlags } from './definitions.ts';
import { type PlaceFlags, withPlace } from './options.ts';
import { duration } from './progress.ts';
import type { Cell } from './table.ts';

export interface WorkflowFlags extends PlaceFlags, DefinitionFlags {
  readonly tenant?: string;
  readonly json?: boolean;
  readonly namespace?: string;
  readonly name?: string;
  readonly state?: string;
  readonly correlation?: string;
  readonly parent?: string;
  readonly from?: string;
  readonly to?: string;
  readonly limit: number;
  readonly after?: string;
  readonly reason?: string;
  readonly by?: string;
}

export function withTenant(command: Command): Command {
  return withPlace(command).option('--tenant <tenant>', 'whose it must be');
}

/** The options that say which runs. */
export function withRunFilter(command: Command): Command {
  return withPlace(command)
    .option('--tenant <tenant>', 'one tenant; by default all of them')
    .option('--namespace <namespace>')
    .option('--name <name>', 'name of the workflow')
    .option('--state <states>', 'one state or several: blocked_by_failures,error')
    .option('--correlation <id>', 'correlation id')
    .option('--parent <id>', 'children of a run')
    .option('--from <time>', 'started at or after, ISO 8601')
    .option('--to <time>', 'started before, ISO 8601');
}

export function runFilterOf(flags: WorkflowFlags) {
  const { namespace, name, state, correlation, parent, from, to } = flags;
  return { namespace, name, state, correlation_id: correlation, parent, from, to };
}

export const taskPath = (id: string) => `/v1/tasks/${encodeURIComponent(id)}`;

export const taskColumns = ['id', 'workflow', 'state', 'since', 'started at', 'took', 'note'];

export function taskRow(task: TaskDocument): Cell[] {
  const { task_uuid: id, namespace, name, version, state, state_since, started_at } = task;
  const took = task.duration_ms === null ? null : tookText(task.duration_ms);
  return [id, `${namespace}/${name}@${version}`, state, state_since, started_at, took, note(task)];
}

function note({ error, resting, wake_at: wakeAt, state, tenant_id: tenant }: TaskDocument): Cell {
  if (error !== null) return error.message;
  if (resting && wakeAt !== null) return `rests until ${wakeAt}`;
  if (resting) return 'rests';
  return state === 'blocked_by_failures' ? 'needs somebody' : tenant;
}

export const stepColumns = ['step', 'kind', 'state', 'tries', 'started at', 'took', 'note'];

export function stepRow(step: StepDocument): Cell[] {
  const { name, kind, state, attempts, started_at: startedAt, duration_ms: ms } = step;
  const waits = step.wake_at === null ? null : `until ${step.wake_at}`;
  const said = step.error?.message ?? waits ?? shown(step.result);
  return [name, kind, state, attempts, startedAt, ms === null ? null : tookText(ms), said];
}

export const entryColumns = ['entry', 'task', 'workflow', 'reason', 'status', 'state now', 'since'];

export function entryRow(entry: InvestigationDocument): Cell[] {
  const { entry_id: id, task_uuid: task, workflow, reason, status, state_now: now } = entry;
  return [id, task, workflow, reason, status, now ?? 'removed', entry.entered_at];
}

export function tookText(ms: number): string {
  return duration(ms / 1_000);
}

function shown(value: unknown): string | null {
  return value === null || value === undefined ? null : JSON.stringify(value);
}

const bad = new Set(['error', 'blocked_by_failures', 'cancelled', 'waiting_for_retry']);

/** A state in the colour that it deserves. */
export function stateText(state: string): string {
  if (state === 'complete' || state === 'resolved_manually') return pc.green(state);
  return bad.has(state) ? pc.red(state) : pc.yellow(state);
}
