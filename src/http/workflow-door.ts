/** The routes' way to the workflows of a process. */
import { MillraceError } from '../core/errors.ts';
import type { Millrace } from '../millrace.ts';
import type { WorkflowDoor } from './workflow-routes.ts';

export function workflowDoor({ workflows, operator }: Millrace): WorkflowDoor {
  return {
    operator,
    definitions: () => workflows.definitions,
    async start({ name, namespace, input, idempotencyKey, ...options }) {
      const path = namespace === undefined ? name : `${namespace}/${name}`;
      const started = await workflows.start(path, input, { ...options, key: idempotencyKey });
      const { runId, duplicate } = started;
      if (!duplicate) return { runId };
      // Without its id: whoever guesses an input must not learn of another one's run.
      throw new MillraceError(
        'WORKFLOW_DUPLICATE',
        `A run of ${path} with this identity is there.`,
      );
    },
  };
}
