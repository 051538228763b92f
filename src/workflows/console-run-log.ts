/** Where lines of steps' own log go unless a process says otherwise. */
import type { JobLog } from '../core/job-context.ts';
import type { StepRecord } from '../core/workflow/run-record.ts';
import type { RunInfo } from '../ports/workflows.ts';

export function consoleRunLog(
  { namespace, name, runId }: RunInfo,
  step: StepRecord | null,
): JobLog {
  const where = step === null ? '' : ` ${step.name} #${step.attempts}`;
  const line =
    (level: 'debug' | 'info' | 'warn' | 'error') =>
    (message: string, fields?: Readonly<Record<string, unknown>>) =>
      console[level](
        `${namespace}/${name} ${runId}${where}: ${message}`,
        ...(fields ? [fields] : []),
      );
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
}
