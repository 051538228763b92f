/** How steps that are undone, and those that undo, are known in a history. */
import type { StepRecord } from '../../core/workflow/run-record.ts';

export const undoPrefix = 'undo:';

/** Inputs of a step that its function knows how to undo. */
export const undoableInputs = '{"undo":true}';

/** It is done, and shall be undone when the run fails. */
export function isUndoable({ state, inputsJson, kind }: StepRecord): boolean {
  return state === 'complete' && kind === 'run' && inputsJson === undoableInputs;
}
