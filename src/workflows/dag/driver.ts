/**
 * Drives a run of a declared workflow: begins what may begin, stores what it came to together with
 * what begins next in one commit, and waits for what takes time.
 *
 *        ┌──> endings, messages, due retries ──> begin ──> commit ──> handlers run ──┐
 *        └───────────────────────────────────────────────────────────────────────────┘
 *
 * Only the first handlers run before anything is stored: then nothing is stored that they could
 * rely upon, and a no-op run of one step is one commit. The live steps are ahead of the record by
 * the draft at hand; a draft that cannot be stored loses the run, and with it everything here.
 */
import { isMillraceError } from '../../core/errors.ts';
import { isEnd } from '../../core/workflow/states.ts';
import type { StoredMessage } from '../../ports/workflows.ts';
import type { Drive, HeldRun, StepEnding } from '../run/driver.ts';
import { failureOf, readVerb } from '../run/verbs.ts';
import { printStepResult } from '../steps/step-result.ts';
import { callStep, endingOfCommit } from '../steps/step-runner.ts';
import { isUndoing, noteUndoing, undoDueAt, undoOne } from './compensation.ts';
import { fail, succeed } from './endings.ts';
import { grow } from './growth.ts';
import { makeBell, within } from './handler-bell.ts';
import { LiveGraph } from './live-graph.ts';
import type { LiveStep } from './live-step.ts';
import { PendingDraft } from './pending-draft.ts';
import type { DagPlan } from './plan.ts';
import { ReadySteps } from './ready-steps.ts';
import { answeredStep, send, takeAnswer } from './remote.ts';
import { handleStep } from './step-handle.ts';
import { applyVerb, reopens } from './verbs.ts';

/** What begins a run, or a try after a wait, is stored after so long if its handler is at work. */
const lazyMs = 20;

interface Ended {
  readonly step: LiveStep;
  /** Of the try: another one of the step may be at work by now. */
  readonly cancel: AbortController;
  readonly ending: StepEnding;
}

export async function driveDag(
  run: HeldRun,
  plan: DagPlan,
  now: () => number = Date.now,
): Promise<Drive> {
  try {
    return await new DagDriver(run, plan, now).drive();
  } catch (error) {
    if (run.signal.aborted || (isMillraceError(error) && error.code === 'LEASE_LOST')) {
      return isEnd(run.record.state) ? 'ended' : 'lost';
    }
    throw error;
  }
}

class DagDriver {
  readonly run: HeldRun;
  readonly plan: DagPlan;
  readonly live: LiveGraph;
  readonly now: () => number;
  readonly #ready = new ReadySteps();
  draft: PendingDraft;
  readonly #wasOver: boolean;
  /** Of them some are over: their states say so. */
  readonly #sent = new Set<LiveStep>();
  readonly #waiting = new Set<LiveStep>();
  /** Handlers at work here, by what would tell them to stop. */
  readonly #atWork = new Set<AbortController>();
  #toStart: LiveStep[] = [];
  #endings: Ended[] = [];
  #bell = makeBell();
  /** Since the last commit: a step has ended, another one begins. */
  #hasEnded = false;
  #begins = false;

  constructor(run: HeldRun, plan: DagPlan, now: () => number) {
    this.run = run;
    this.plan = plan;
    this.live = new LiveGraph(plan);
    this.draft = new PendingDraft(run.record.state);
    this.#wasOver = isEnd(run.record.state);
    this.now = now;
  }

  async drive(): Promise<Drive> {
    const { run } = this;
    this.#load();
    if (run.record.seq > 0) await this.#takeMessages();
    for (;;) {
      // A verb at hand may have opened it again.
      if (isEnd(run.record.state) && isEnd(this.draft.runState)) return await this.#endAgain();
      if (run.signal.aborted) return 'lost';
      await this.#takeEndings();
      this.#takeDueRetries();
      this.#begin();
      const ends = this.#settle();
      if (this.draft.urgent || ends) await this.flush();
      if (ends) return 'ended';
      this.#start();
      if (this.#endings.length > 0) continue;
      if (this.#atWork.size > 0) await this.#awaitHandlers();
      else if (this.#mustUndo()) {
        if (await undoOne(this)) return 'ended';
      } else if (await this.#rest()) return 'rested';
    }
  }

  /** It had ended, was opened, and what opened it led to nothing: it ends as it had. */
  async #endAgain(): Promise<Drive> {
    const { record, signal } = this.run;
    const { state } = record;
    if (this.#wasOver && !signal.aborted && isEnd(state)) {
      const error = state === 'error' ? failureOf(record) : null;
      const { read } = this.draft;
      const end = { state, resultJson: null, error };
      await this.run.commit({ transitions: [], end, ...(read !== undefined && { read }) });
    }
    return 'ended';
  }

  #load(): void {
    const { live } = this;
    live.restore(this.run.record);
    live.link();
    grow(live, this.draft);
    for (const step of live.steps) {
      if (!step.active) continue;
      if (step.state === 'in_progress') {
        // Another holder began it: the same try, once more.
        this.#ready.enter(step);
        this.#enter(step);
        continue;
      }
      if (step.state === 'waiting_for_retry') this.#waiting.add(step);
      if (step.state === 'enqueued' && step.planned.elsewhere !== null) this.#sent.add(step);
      if (step.waitingFor === 0) this.#offer(step);
    }
  }

  /** It is due. */
  #mustUndo(): boolean {
    if (!isUndoing(this) || this.run.record.paused) return false;
    const due = this.#undoDue();
    return due !== null && due <= this.now();
  }

  /** Not before it is known what steps elsewhere did that would have to be undone as well. */
  #undoDue(): number | null {
    if (this.#hasSent(({ planned }) => planned.compensate !== null)) return null;
    return undoDueAt(this);
  }

  /** Into the line, if it is its turn. */
  #offer(step: LiveStep): void {
    const { state, planned } = step;
    if (state === 'pending' || (state === 'enqueued' && planned.elsewhere === null)) {
      this.#ready.add(step);
    }
  }

  /** Nothing more is begun. */
  get #halted(): boolean {
    return this.run.record.paused || isUndoing(this);
  }

  #begin(): void {
    if (this.#halted) return;
    while (this.#atWork.size + this.#toStart.length < this.plan.concurrency) {
      const step = this.#ready.take();
      if (step === null) break;
      this.#begins = true;
      if (step.state === 'pending') this.draft.move(step, 'enqueued');
      if (step.planned.elsewhere !== null) {
        this.#ready.leave(step);
        send(this.run, this.draft, step);
        this.#sent.add(step);
        continue;
      }
      this.draft.move(step, 'in_progress');
      this.#enter(step);
    }
  }

  #enter(step: LiveStep): void {
    this.#toStart.push(step);
  }

  #start(): void {
    if (this.#toStart.length === 0) return;
    for (const step of this.#toStart.splice(0)) {
      // An operator may have ended it before its handler was called.
      if (step.state === 'in_progress') this.#call(step);
      else this.#ready.leave(step);
    }
  }

  #call(step: LiveStep): void {
    const { run, live } = this;
    const { compiled, attemptsMax } = step.planned;
    const cancel = new AbortController();
    step.cancel = cancel;
    this.#atWork.add(cancel);
    const parts = {
      info: run.info,
      input: run.input,
      live,
      saveCheckpoint: (one: LiveStep, value: unknown) => this.#saveCheckpoint(one, value, cancel),
    };
    const ending = callStep(run, {
      step,
      attempt: step.attempts,
      attemptsMax,
      timeoutMs: compiled.timeoutMs,
      transactional: compiled.transactional,
      cancel: cancel.signal,
      handle: (tools) => handleStep(parts, step, tools),
    });
    void ending.then((one) => {
      this.#endings.push({ step, cancel, ending: one });
      this.#bell.ring();
    });
  }

  /** @param cancel of the try: what an operator took from its handler is not to come back. */
  async #saveCheckpoint(step: LiveStep, value: unknown, { signal }: AbortController) {
    const checkpointJson = printStepResult(step.name, value) ?? 'null';
    signal.throwIfAborted();
    // What began the step may not be stored yet, and a checkpoint of no step cannot be.
    await this.flush();
    signal.throwIfAborted();
    // At once: a verb that comes before it is stored takes it away behind it.
    step.checkpointJson = checkpointJson;
    await this.run.commit({ transitions: [], facts: [{ step: step.no, checkpointJson }] });
  }

  async #takeEndings(): Promise<void> {
    // What handlers did is not the operator's doing.
    if (this.#endings.length > 0 && this.draft.by !== undefined) await this.flush();
    for (const { step, cancel, ending } of this.#endings.splice(0)) {
      const isLast = step.cancel === cancel;
      if (isLast) step.cancel = null;
      this.#atWork.delete(cancel);
      this.#ready.leave(step);
      if (ending.kind === 'aborted') continue;
      // Ended by an operator, or taken back, while its handler was at work: too late.
      if (!isLast || step.state !== 'in_progress' || cancel.signal.aborted) {
        if (ending.kind === 'value') await ending.transaction?.rollback().catch(() => {});
        continue;
      }
      if (ending.kind === 'value' && ending.transaction !== null) {
        await this.#commitIn(ending.transaction, step, ending);
      } else if (ending.kind === 'value') {
        succeed(this.run, this.draft, step, ending);
        this.ended(step);
      } else {
        // A handler that ran out of time goes on for a while: what it notes is of no use any more.
        cancel.abort(ending.thrown);
        this.failed(step, ending);
      }
    }
    if (this.#bell.isRung) this.#bell = makeBell();
  }

  /** What goes before is stored with it; what follows from it comes with the next commit. */
  async #commitIn(
    transaction: NonNullable<Extract<StepEnding, { kind: 'value' }>['transaction']>,
    step: LiveStep,
    ending: Extract<StepEnding, { kind: 'value' }>,
  ): Promise<void> {
    if (!this.draft.isEmpty) await this.flush();
    const before = { ...step };
    const draft = new PendingDraft(this.draft.runState);
    succeed(this.run, draft, step, ending);
    try {
      await transaction.commit(draft.print());
    } catch (error) {
      Object.assign(step, before, { cancel: null });
      const meaning = endingOfCommit(error);
      if (meaning === 'again') {
        this.#ready.enter(step);
        this.#enter(step);
      } else if (meaning.kind === 'error') this.failed(step, meaning);
      else throw error;
      return;
    }
    await draft.dispatch();
    this.ended(step);
  }

  /** It is done, or an isolated batch has failed: what waited for it may begin. */
  ended(step: LiveStep): void {
    this.#hasEnded = true;
    const freed = this.live.settle(step);
    const { type } = step.planned.compiled;
    if ((type === 'decision' || type === 'batchable') && grow(this.live, this.draft)) {
      this.offerAll();
      return;
    }
    for (const next of freed) this.#offer(next);
  }

  /** After the graph has changed. */
  offerAll(): void {
    for (const step of this.live.steps) {
      if (step.active && step.waitingFor === 0) this.#offer(step);
    }
  }

  failed(step: LiveStep, ending: Omit<Extract<StepEnding, { kind: 'error' }>, 'kind' | 'thrown'>) {
    const again = fail(this.run, this.draft, step, { ...ending, now: this.now() });
    this.#hasEnded = true;
    if (again) this.#waiting.add(step);
    else this.#failedForGood(step);
  }

  #failedForGood(step: LiveStep): void {
    if (step.isolated) this.ended(step);
    if (step.failureStrategy === 'fail_fast') this.#stopSiblings(step);
  }

  /** Of a batch that fails fast. */
  #stopSiblings(failed: LiveStep): void {
    for (const step of this.live.instancesOf(failed.planned.node)) {
      if (step.done || step.state === 'error' || step.state === 'cancelled') continue;
      step.cancel?.abort(failed.error);
      this.draft.move(step, 'cancelled');
      if (step.wakeAt !== null) this.draft.learn(step, { wakeAt: null });
    }
  }

  #takeDueRetries(): void {
    if (this.#halted) return;
    const now = this.now();
    for (const step of this.#retrying()) {
      if ((step.wakeAt ?? 0) > now) continue;
      this.draft.move(step, 'pending');
      this.#ready.add(step);
    }
  }

  #retrying(): ReadonlySet<LiveStep> {
    for (const step of this.#waiting) {
      if (!step.active || step.state !== 'waiting_for_retry') this.#waiting.delete(step);
    }
    return this.#waiting;
  }

  /** Where the run stands after all that. True: it ends with this draft. */
  #settle(): boolean {
    const { draft, live } = this;
    const busy = this.#atWork.size + this.#toStart.length > 0 || this.#hasSent();
    if (busy) {
      const begins = this.#begins && (draft.runState !== 'steps_in_process' || this.#hasEnded);
      if (draft.runState !== 'steps_in_process') draft.moveRun('steps_in_process');
      else if (begins) {
        draft.stepRun('evaluating_results');
        draft.moveRun('steps_in_process');
      }
    } else if (live.left === 0) {
      draft.moveRun('complete');
      draft.end = { state: 'complete', resultJson: live.printResult(), error: null };
      return true;
    } else this.#settleIdle();
    return false;
  }

  /** Nothing is at work. */
  #settleIdle(): void {
    const { draft } = this;
    const before = draft.runState;
    if (this.#retrying().size > 0 && !isUndoing(this)) draft.moveRun('waiting_for_retry');
    else if (this.run.record.paused && !this.#ready.isEmpty) {
      if (before !== 'pending') draft.moveRun('waiting_for_dependencies');
    } else {
      draft.moveRun('blocked_by_failures');
      const goesOn = isUndoing(this) && undoDueAt(this) !== null;
      if (goesOn && draft.runState !== before) noteUndoing(this);
      // Its tries are used up: now it waits for somebody.
      if (!goesOn && this.run.record.notes.has('compensating')) draft.note('compensating', null);
    }
    if (draft.runState !== before) draft.urgent = true;
  }

  #hasSent(which: (step: LiveStep) => boolean = () => true): boolean {
    for (const step of this.#sent) {
      if (!step.active || step.state !== 'enqueued') this.#sent.delete(step);
    }
    return [...this.#sent].some(which);
  }

  /** Stores the draft at hand. */
  async flush(): Promise<void> {
    const draft = this.#takeDraft();
    if (draft.isEmpty) return;
    await this.run.commit(draft.print());
    await draft.dispatch();
  }

  #takeDraft(): PendingDraft {
    const { draft } = this;
    this.draft = new PendingDraft(draft.runState);
    this.#hasEnded = false;
    this.#begins = false;
    return draft;
  }

  /** Until a handler ends, a message comes, or a retry is due. */
  async #awaitHandlers(): Promise<void> {
    const { rung } = this.#bell;
    // Handlers that do nothing, or nothing slow, are over by then.
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#endings.length > 0) return;
    if (!this.draft.isEmpty && !(await within(lazyMs, rung))) await this.flush();
    if (this.#endings.length > 0) return;
    await this.run.wait(this.#nextDue(), rung);
    if (this.#endings.length === 0 && !this.run.signal.aborted) await this.#takeMessages();
  }

  /** When a retry is due; null: none is, or nothing is to be begun. */
  #nextDue(): number | null {
    if (this.run.record.paused) return null;
    if (isUndoing(this)) return this.#atWork.size > 0 ? null : this.#undoDue();
    let due: number | null = null;
    for (const { wakeAt } of this.#retrying()) due = Math.min(due ?? wakeAt ?? 0, wakeAt ?? 0);
    return due;
  }

  /** Nothing is at work here. True: the run rests. */
  async #rest(): Promise<boolean> {
    const { run, draft } = this;
    if (!draft.isEmpty) await this.flush();
    const wakeAt = this.#nextDue();
    if ((await run.wait(wakeAt)) === 'go') {
      await this.#takeMessages();
      return false;
    }
    const { state } = run.record;
    if ((await run.rest({ state, wakeAt }, { transitions: [] })) === 'rested') return true;
    await this.#takeMessages();
    return false;
  }

  async #takeMessages(): Promise<void> {
    const { run } = this;
    const { read } = run.record;
    for (const message of await run.messages()) {
      if (message.no <= read || run.signal.aborted) continue;
      await this.#obey(message);
    }
  }

  async #obey(message: StoredMessage): Promise<void> {
    const over = isEnd(this.draft.runState) && !reopens(message);
    if (message.kind === 'verb' && !over) {
      await this.#obeyVerb(message);
      return;
    }
    if (message.kind === 'step' && !over) this.#takeAnswer(message);
    this.draft.read = message.no;
    this.draft.urgent = true;
  }

  #takeAnswer(message: StoredMessage): void {
    const step = answeredStep(this.live, message);
    if (step === null) return;
    const what = takeAnswer(this, { step, message, now: this.now() });
    if (what === 'done') this.ended(step);
    else if (what === 'again') this.#waiting.add(step);
    else this.#failedForGood(step);
    this.#hasEnded = true;
  }

  /**
   * In a commit of its own, which bears the operator's name, and carries what begins at once:
   * nobody may see a run that has read a retry and is still blocked.
   */
  async #obeyVerb(message: StoredMessage): Promise<void> {
    await this.flush();
    const { live, draft, run } = this;
    const refusal = applyVerb(this, message);
    if (refusal === null) {
      const { by, reason } = readVerb(message);
      draft.by = by;
      draft.reason = reason;
      live.link();
      grow(live, draft);
      this.offerAll();
    } else {
      if (!draft.isEmpty) this.draft = new PendingDraft(run.record.state);
      run.log(null).warn(`${message.name} has no effect: ${refusal}`, { message: message.no });
    }
    this.draft.read = message.no;
    this.draft.urgent = true;
  }
}
