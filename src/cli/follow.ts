/**
 * Watching a run from a terminal: each step on a line of its own as it comes to an end, and how the
 * run ended. A run that is blocked has come to an end for whoever waits: somebody must act.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { StepDocument, TaskDetailsDocument } from '../http/workflow-documents.ts';
import { colors as pc } from './colors.ts';
import { exitCodes } from './failure.ts';
import { hint } from './hint.ts';
import { line, type Output, printJson } from './io.ts';
import type { Cli } from './options.ts';
import type { Api } from './platform.ts';
import { printable } from './table.ts';
import { stateText, taskPath, tookText, type WorkflowFlags } from './workflow-flags.ts';

export interface FollowFlags extends WorkflowFlags {
  /** Seconds. */
  readonly timeout?: number;
}

const lookMs = [50, 500] as const;
const finished = new Set(['complete', 'error', 'cancelled', 'resolved_manually']);

/** Until the run ends, is blocked, or nobody wants to wait any more. */
export async function followRun(
  api: Api,
  runId: string,
  flags: FollowFlags,
  cli: Cli,
): Promise<void> {
  const { io } = cli;
  const { tenant, json = false, timeout } = flags;
  const shown = new Shown(json ? silent : io.stdout);
  const until = timeout === undefined ? Number.POSITIVE_INFINITY : Date.now() + timeout * 1_000;
  let pauseMs: number = lookMs[0];
  let seq = -1;
  for (;;) {
    const task = await api.get<TaskDetailsDocument>(taskPath(runId), { tenant });
    shown.show(task);
    if (finished.has(task.state) && task.ended_at !== null) return report(task, flags, cli);
    const undoes = task.notes.compensating !== undefined && !task.paused;
    if (task.state === 'blocked_by_failures' && !undoes) return report(task, flags, cli);
    if (io.signal.aborted || Date.now() >= until) {
      shown.clear();
      cli.exitCode = exitCodes.interrupted;
      if (json) return printJson(io, task);
      line(io.stdout, `${runId} is ${stateText(task.state)} and goes on when somebody works on it`);
      return line(io.stdout, hint(io, `workflow why ${runId}`, flags));
    }
    pauseMs = task.seq === seq ? Math.min(lookMs[1], pauseMs * 1.5) : lookMs[0];
    seq = task.seq;
    await sleep(pauseMs, undefined, { signal: io.signal }).catch(() => {});
  }
}

const silent: Output = { write: () => {}, isTTY: false, columns: 100 };

/** Steps as they come to an end, one line each; on a terminal what runs now, below them. */
class Shown {
  readonly #output: Output;
  readonly #told = new Map<string, string>();

  constructor(output: Output) {
    this.#output = output;
  }

  show(task: TaskDetailsDocument): void {
    this.clear();
    for (const step of task.workflow_steps) {
      const { name, state, attempts } = step;
      const now = `${state} ${attempts}`;
      if (!worthALine(state) || this.#told.get(name) === now) continue;
      this.#told.set(name, now);
      line(this.#output, `  ${markOf(state)} ${lineOf(step)}`);
    }
    if (!this.#output.isTTY || finished.has(task.state)) return;
    const open = task.workflow_steps.filter(({ state }) => !finished.has(state));
    const names = open.slice(0, 3).map(({ name }) => name);
    const rest = open.length > 3 ? ` and ${open.length - 3} more` : '';
    const text = `  … ${names.join(', ')}${rest}`.slice(0, this.#output.columns - 1);
    this.#output.write(`\r${text}\u001b[K`);
  }

  /** Removes the line of what runs now. */
  clear(): void {
    if (this.#output.isTTY) this.#output.write('\r\u001b[K');
  }
}

function worthALine(state: string): boolean {
  return finished.has(state) || state === 'waiting_for_retry';
}

function markOf(state: string): string {
  if (state === 'complete' || state === 'resolved_manually') return pc.green('✓');
  return state === 'waiting_for_retry' ? pc.yellow('↻') : pc.red('✗');
}

function lineOf({ name, state, attempts, duration_ms: ms, error, wake_at: wakeAt }: StepDocument) {
  const parts = [pc.bold(name), pc.dim(state)];
  if (ms !== null) parts.push(tookText(ms));
  if (attempts > 1 || state === 'waiting_for_retry') parts.push(`try ${attempts}`);
  if (wakeAt !== null) parts.push(`again at ${wakeAt}`);
  if (error !== null) parts.push(printable(error.message).split('\n')[0] ?? '');
  return parts.join('  ');
}

function report(task: TaskDetailsDocument, flags: FollowFlags, cli: Cli): void {
  const { io } = cli;
  const good = task.state === 'complete' || task.state === 'resolved_manually';
  if (!good) cli.exitCode = exitCodes.failure;
  if (flags.json) {
    printJson(io, task);
    return;
  }
  const { task_uuid: runId, state, duration_ms: ms, error, result } = task;
  const took = ms === null ? '' : ` in ${tookText(ms)}`;
  line(io.stdout, `${pc.bold(runId)} is ${stateText(state)}${took}`);
  if (error !== null) line(io.stdout, `  ${pc.red(printable(error.message))}`);
  if (good && result !== null) line(io.stdout, JSON.stringify(result, null, 2));
  line(io.stdout, hint(io, `workflow ${good ? 'show' : 'why'} ${runId}`, flags));
}
