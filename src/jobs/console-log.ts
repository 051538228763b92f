/** Where lines of handlers' own log go unless a process says otherwise. */
import type { JobLog } from '../core/job-context.ts';
import type { JobAttempt } from './lifecycle.ts';

export function consoleLog({ id, name, attempt }: JobAttempt): JobLog {
  const line =
    (level: 'debug' | 'info' | 'warn' | 'error') =>
    (message: string, fields?: Readonly<Record<string, unknown>>) =>
      console[level](`${name} ${id} #${attempt}: ${message}`, ...(fields ? [fields] : []));
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
}
