/** The last commit of a run of a durable function: what is open is closed, and its end is said. */
import { errorRecord, type JobErrorRecord } from '../../core/error-record.ts';
import { MillraceError } from '../../core/errors.ts';
import { describeIssues, fieldProblems, validateWith } from '../../core/schema.ts';
import type { RunEnd } from '../../ports/workflows.ts';
import { printStepResult } from '../steps/step-result.ts';
import type { FunctionRun, Verdict } from './function-run.ts';
import { cancelOpen } from './waits.ts';

/** One for all: an error takes 20 µs to make. */
const closing = new MillraceError('WORKFLOW_CANCELLED', 'The run has ended.');

/** Call it when no transaction is committing. Resolves when it is stored, or the run is lost. */
export async function endRun(room: FunctionRun, verdict: Verdict): Promise<void> {
  const { journal } = room;
  const end = endOf(room, verdict);
  room.call.abandon(closing);
  cancelOpen(room, closing);
  if (end.state === 'error') journal.moveTo('blocked_by_failures');
  if (end.state === 'cancelled') journal.force('cancelled');
  else journal.moveTo(end.state);
  journal.add({ end, ...saidBy(verdict) });
  await room.flushed();
}

/** The operator who cancelled it. */
function saidBy(verdict: Verdict): { readonly by?: string; readonly reason?: string } {
  if (verdict.kind !== 'cancelled') return {};
  const { by, reason } = verdict;
  return reason === undefined ? { by } : { by, reason };
}

function endOf(room: FunctionRun, verdict: Verdict): RunEnd {
  switch (verdict.kind) {
    case 'returned':
      return returned(room, verdict.value);
    case 'threw':
      return failed(errorRecord(verdict.error));
    case 'nondeterministic':
      return failed(errorRecord(verdict.error));
    case 'cancelled':
      return { state: 'cancelled', resultJson: null, error: null };
    case 'undone':
      return undone(verdict);
  }
}

function failed(error: JobErrorRecord): RunEnd {
  return { state: 'error', resultJson: null, error };
}

function returned(room: FunctionRun, value: unknown): RunEnd {
  const open = room.call.unasked();
  const stray = open.find(({ step }) => step.state !== 'complete' && step.finishedAt === null);
  const { strict, name } = room.rules;
  const unasked = stray ?? (strict ? open[0] : undefined);
  if (unasked !== undefined) {
    const { step } = unasked;
    const message =
      `The history has step '${step.name}' (${step.kind}, ${step.state});` +
      ` the function of ${name} returned without asking for it.`;
    return failed(errorRecord(new MillraceError('WORKFLOW_NONDETERMINISTIC', message)));
  }
  if (open.length > 0) {
    const names = open.map(({ step }) => step.name).slice(0, 10);
    room.run.log(null).warn('steps of the history were not asked for', { steps: names });
  }
  try {
    return { state: 'complete', resultJson: printResult(room, value), error: null };
  } catch (error) {
    return failed(errorRecord(error));
  }
}

/** @throws MillraceError RESULT_INVALID */
function printResult({ rules }: FunctionRun, value: unknown): string | null {
  const { name, resultSchema } = rules;
  if (resultSchema === null) return printStepResult(name, value);
  const result = validateWith(resultSchema, value);
  if (result.issues === undefined) return printStepResult(name, result.value);
  const problem = describeIssues(result.issues, 'result');
  throw new MillraceError('RESULT_INVALID', `Workflow ${name}: ${problem}.`, {
    details: { issues: fieldProblems(result.issues, 'result') },
  });
}

function undone({ why, failed: problem }: Extract<Verdict, { kind: 'undone' }>): RunEnd {
  if (problem !== null) {
    const cause = why.error === null ? 'it was cancelled' : why.error.message;
    const message = `${problem.message} (while undoing, because ${cause})`;
    return failed(errorRecord(new MillraceError('STEP_FAILED', message, { cause: problem })));
  }
  if (why.kind === 'cancelled') return { state: 'cancelled', resultJson: null, error: null };
  return failed(why.error as JobErrorRecord);
}
