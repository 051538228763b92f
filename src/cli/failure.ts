/**
 * Errors as people read them: what happened, its code, the cause, what to do, what to type next.
 * With --json the same as one document. Stacks are shown with MILLRACE_DEBUG=1 only.
 */

import { type ErrorCode, MillraceError } from '../core/errors.ts';
import { colors as pc } from './colors.ts';
import { commandText } from './hint.ts';
import { type Io, line } from './io.ts';

export const exitCodes = { ok: 0, failure: 1, usage: 2, interrupted: 130 } as const;

/** What to type next, where a command helps. */
const nextCommands: Partial<Record<ErrorCode, string>> = {
  EMBEDDED_DIRECTORY: 'start --data another-directory',
  EMBEDDED_UNAVAILABLE: 'start --url postgres://user@host/database',
  GROUP_STATE: 'groups list',
  DEAD_LETTER_STATE: 'dead-letters list',
  JOB_STATE: 'jobs list',
  WORKFLOW_STATE: 'workflow list',
  WORKFLOW_DUPLICATE: 'workflow list',
  WORKFLOW_UNKNOWN: 'workflow run --help',
  EVENT_UNKNOWN: 'events list',
  SOURCE_INVALID: 'ingest --help',
};

/** Commands whose things are listed by a command of their own. */
const listed: ReadonlySet<string> = new Set([
  ...['dead-letters', 'exceptions', 'groups', 'jobs', 'queues', 'schedules', 'workers', 'workflow'],
]);

/** Prints the error, and answers with the exit code. `named`: the command, such as `jobs list`. */
export function reportFailure(error: unknown, io: Io, json: boolean, named = ''): number {
  const { code, message, fix } = describe(error);
  const command = nextCommand(code, named);
  const next = command && commandText(io, command);
  const causes = causesOf(error);
  if (json) {
    const body = {
      code,
      message,
      fix,
      ...(causes.length > 0 && { causes }),
      ...(next && { next }),
    };
    line(io.stdout, JSON.stringify({ error: body }, null, 2));
  } else {
    const { stderr } = io;
    line(stderr, `${pc.red('error')} ${pc.bold(message)}  ${pc.dim(`[${code}]`)}`);
    for (const cause of causes) line(stderr, `  ${pc.dim('cause')} ${cause}`);
    line(stderr, `  ${pc.dim('fix')}   ${fix}`);
    if (next) line(stderr, `  ${pc.dim('next')}  ${pc.cyan(next)}`);
  }
  if (io.env.MILLRACE_DEBUG && error instanceof Error) line(io.stderr, error.stack ?? '');
  return code === 'USAGE' ? exitCodes.usage : exitCodes.failure;
}

function nextCommand(code: string, named: string): string | undefined {
  if (code === 'USAGE') return `${named} --help`.trim();
  const area = named.split(' ')[0] ?? '';
  const command =
    code === 'NOT_FOUND' && listed.has(area) ? `${area} list` : nextCommands[code as ErrorCode];
  // What has just failed is no way out.
  return command === named ? undefined : command;
}

function describe(error: unknown): { code: string; message: string; fix: string } {
  if (error instanceof MillraceError) return error;
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  return {
    code: typeof code === 'string' ? code : 'UNEXPECTED',
    message: typeof message === 'string' && message !== '' ? message : String(error),
    fix:
      typeof code === 'string' && pathCodes.has(code)
        ? 'Check the path and its permissions.'
        : 'Run it again with MILLRACE_DEBUG=1 and report what it prints.',
  };
}

const pathCodes: ReadonlySet<string> = new Set([
  ...['ENOENT', 'EACCES', 'EPERM', 'EISDIR', 'ENOTDIR', 'EEXIST', 'EROFS', 'ENAMETOOLONG'],
]);

/** Each cause once, outermost first. */
function causesOf(error: unknown): string[] {
  const causes: string[] = [];
  const message = (error as Error)?.message;
  const shown = new Set([message]);
  let cause = (error as Error)?.cause;
  while (cause instanceof Error && causes.length < 5) {
    const known = shown.has(cause.message) || message.endsWith(cause.message);
    if (cause.message !== '' && !known) causes.push(cause.message);
    shown.add(cause.message);
    cause = cause.cause;
  }
  return causes;
}

export function usage(message: string, fix?: string): MillraceError {
  return new MillraceError('USAGE', message, { fix });
}
