/** What an answer to `why` about a run is made of: reasons, each with a command that clears it. */
import type { TaskState } from '../../core/workflow/states.ts';
import type { ReasonKind } from '../../jobs/reason.ts';

export type RunReasonKind =
  | TaskState
  | 'step-failed'
  | 'paused'
  | 'held'
  | 'holder-silent'
  | 'holder-gone'
  | 'step-running'
  | 'step-retrying'
  | 'step-elsewhere'
  | 'sleeping'
  | 'waits-for-signal'
  | 'waits-for-event'
  | 'waits-for-approval'
  | 'waits-for-child'
  | 'waits-for-step'
  | 'wakes-at'
  | 'unread-messages'
  | 'worker-elsewhere'
  | 'compensating'
  | 'stale'
  | 'investigated'
  | 'going-on'
  | `job-${ReasonKind}`;

export interface RunReason {
  readonly kind: RunReasonKind;
  /** A sentence. */
  readonly text: string;
  /** Arguments of `millrace` that clear it or tell more; null where none does. */
  readonly command: string | null;
}

export interface RunWhy {
  readonly runId: string;
  /** `namespace/name@version`. */
  readonly workflow: string;
  readonly state: TaskState;
  /** The first is what must change for the run to go on; further ones hold it up as well. */
  readonly reasons: readonly [RunReason, ...RunReason[]];
}

export function runReason(
  kind: RunReasonKind,
  text: string,
  command: string | null = null,
): RunReason {
  return { kind, text, command };
}

export function workflowOf(run: {
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
}): string {
  return `${run.namespace}/${run.name}@${run.version}`;
}

/** A step name as an argument of a shell. */
export function argument(text: string): string {
  return /^[\w./:@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** ` [CODE]`, behind a message. */
export function codeOf(code: string | null): string {
  return code === null ? '' : ` [${code}]`;
}
