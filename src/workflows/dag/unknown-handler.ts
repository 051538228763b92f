/** Stands for a handler that this process does not have: its step fails, and can be retried. */
import { permanentFailure } from '../../core/errors.ts';
import type { BoundHandler } from '../steps/handler-registry.ts';

export function unknownHandler(message: string, fix: string): BoundHandler {
  return {
    kind: 'step',
    depends: [],
    call: () => {
      throw permanentFailure(message, { fix: `${fix} Then retry the run.` });
    },
    compensate: null,
  };
}
