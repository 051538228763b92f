/**
 * Simulated tools, for packs that are tried out: the same execution id always fares the same.
 * `success` answers at once, `fail` never succeeds, `delayed` takes 20–120 ms, `flaky` fails the
 * first attempt of one execution in two.
 */
import type { ToolOutcome, ToolRequest } from './outcome.ts';

type Profile = 'success' | 'fail' | 'delayed' | 'flaky';

const provider = 'simulate';

export function simulate(
  profile: Profile,
  request: ToolRequest,
): ToolOutcome | Promise<ToolOutcome> {
  if (profile === 'fail') return failure('the simulated tool always fails', false);
  const chance = hash(request.executionId);
  if (profile === 'flaky' && chance % 2 === 0 && request.attempt === 1) {
    return failure('the simulated tool was unreachable', true);
  }
  const reference = `SIM-${chance.toString(36).toUpperCase()}`;
  if (profile !== 'delayed') return success(reference, 0);
  const delayMs = 20 + (chance % 100);
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      request.signal.removeEventListener('abort', end);
      resolve(request.signal.aborted ? failure('stopped', true) : success(reference, delayMs));
    };
    const timer = setTimeout(end, delayMs);
    request.signal.addEventListener('abort', end);
  });
}

function success(reference: string, durationMs: number): ToolOutcome {
  return { ok: true, provider, durationMs, output: { status: 'ok', reference } };
}

function failure(error: string, retryable: boolean): ToolOutcome {
  return { ok: false, provider, durationMs: 0, errorCode: 'TOOL_FAILED', error, retryable };
}

/** FNV-1a over the last 48 characters: spread evenly enough, 0.05 µs. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = Math.max(0, text.length - 48); index < text.length; index++) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  }
  return value >>> 0;
}
