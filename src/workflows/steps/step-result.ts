/**
 * What a handler returned, as the JSON text that is stored: printed once, refused with the path of
 * what is not JSON.
 */
import { MillraceError } from '../../core/errors.ts';
import { payloadBytesMax } from '../../core/job-preparation.ts';
import { checkJson } from '../../core/json.ts';

/**
 * Null for undefined.
 * @throws MillraceError RESULT_INVALID naming the path.
 */
export function printStepResult(stepName: string, value: unknown): string | null {
  if (value === undefined) return null;
  let json: string;
  try {
    checkJson(value, { root: 'result' });
    json = JSON.stringify(value);
  } catch (cause) {
    if (!(cause instanceof MillraceError)) {
      throw refuse(stepName, 'result cannot be read.', { cause });
    }
    const { message, fix, details } = cause;
    throw refuse(stepName, message, { cause, fix, details });
  }
  if (json.length <= payloadBytesMax) return json;
  throw refuse(
    stepName,
    `result has ${json.length} characters as JSON; ${payloadBytesMax} are allowed.`,
    {
      fix: 'Store the large part elsewhere and return a reference to it.',
      details: { path: 'result' },
    },
  );
}

function refuse(
  step: string,
  problem: string,
  options: {
    cause?: unknown;
    fix?: string;
    details?: Readonly<Record<string, unknown>> | undefined;
  },
): MillraceError {
  return new MillraceError('RESULT_INVALID', `Step '${step}': ${problem}`, {
    cause: options.cause,
    fix: options.fix,
    details: { step, ...options.details },
  });
}
