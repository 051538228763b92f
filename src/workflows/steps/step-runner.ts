/**
 * Runs one try of a step and says what it came to. It stores nothing: drivers commit, in the
 * transaction of the ending if there is one. Called by both drivers for every step, 20,000 times a
 * second and more, so a handler that returns at once costs no timer, listener or signal.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isMillraceError } from '../../core/errors.ts';
import type { HeldRun, HeldTransaction, StepCall, StepEnding } from '../run/driver.ts';
import { Attempt, abortedEnding } from './attempt.ts';
import { viewFailure } from './step-failure.ts';

/** While the store is away, a transaction is asked for again so soon. */
const awayMs = 250;

/** Never rejects. 'aborted' when the run was lost or cancelled before or while the handler ran. */
export function callStep(run: HeldRun, call: StepCall): Promise<StepEnding> {
  if (isStopped(run, call)) return Promise.resolve(abortedEnding);
  if (call.transactional) return callInTransaction(run, call);
  return new Attempt(run, call, null).start();
}

async function callInTransaction(run: HeldRun, call: StepCall): Promise<StepEnding> {
  const transaction = await begin(run, call);
  if ('kind' in transaction) return transaction;
  const ending = await new Attempt(run, call, transaction).start();
  if (ending.kind !== 'value') await rollBack(transaction);
  return ending;
}

/** Not the handler's fault when it cannot begin: no try is counted for that. */
async function begin(run: HeldRun, call: StepCall): Promise<HeldTransaction | StepEnding> {
  for (;;) {
    try {
      const transaction = await run.begin();
      if (!isStopped(run, call)) return transaction;
      await rollBack(transaction);
      return abortedEnding;
    } catch (error) {
      if (isStopped(run, call) || isLoss(error)) return abortedEnding;
      if (!isAway(error)) return endingOf(error);
    }
    await sleep(awayMs, undefined, { signal: run.signal }).catch(() => {});
    if (isStopped(run, call)) return abortedEnding;
  }
}

/** What the failed commit of a step's transaction means; 'again': nothing, the step runs again. */
export function endingOfCommit(thrown: unknown): StepEnding | 'again' {
  if (isLoss(thrown)) return abortedEnding;
  return isAway(thrown) ? 'again' : endingOf(thrown);
}

function endingOf(thrown: unknown): StepEnding {
  return { kind: 'error', thrown, ...viewFailure(thrown), events: [] };
}

/** A transaction that cannot be rolled back is lost with its connection: that undoes it too. */
async function rollBack(transaction: HeldTransaction): Promise<void> {
  await transaction.rollback().catch(() => {});
}

function isStopped(run: HeldRun, call: StepCall): boolean {
  return run.signal.aborted || call.cancel?.aborted === true;
}

function isLoss(error: unknown): boolean {
  return isMillraceError(error) && error.code === 'LEASE_LOST';
}

function isAway(error: unknown): boolean {
  return isMillraceError(error) && error.code === 'STORE_UNAVAILABLE';
}
