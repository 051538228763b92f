/**
 * The runs that this process holds: born held as it starts them, or taken over through a job of
 * their queue. Each is driven until it ends, rests, is lost, or this process stops.
 */
import { MillraceError } from '../core/errors.ts';
import type { JobContext, JobLog } from '../core/job-context.ts';
import { snooze } from '../core/job-outcome.ts';
import { parseChange, RunRecord, type StepRecord } from '../core/workflow/run-record.ts';
import type { LoadedRun, NewRun, RunCommit, RunInfo, WorkflowStore } from '../ports/workflows.ts';
import { sleep } from '../runtime/bell.ts';
import { type Committer, isLost } from './committer.ts';
import type { AnyWorkflowDefinition } from './definition.ts';
import { type Finishes, isFinish } from './finishes.ts';
import type { Registry } from './registry.ts';
import { Alarms } from './run/alarms.ts';
import { LiveRun, stopping } from './run/live-run.ts';
import { type Observers, tellObservers } from './run/observer.ts';
import type { RunHost } from './run/run-host.ts';
import { failureOf } from './run/verbs.ts';

export interface HolderOptions {
  readonly workerId: string;
  readonly store: WorkflowStore;
  readonly registry: Registry;
  readonly committer: Committer;
  readonly finishes: Finishes;
  readonly observers: Observers;
  readonly stepEvents: RunHost['stepEvents'];
  readonly residencyMs: number;
  /** Null while this process may hold nothing. */
  epoch(): number | null;
  log(info: RunInfo, step: StepRecord | null): JobLog;
  woken(queues: readonly string[]): void;
  /** A run came to rest here, until then. */
  rested(wakeAt: number): void;
  /** A commit brought events to be appended. */
  staged(): void;
  cancelChildren(runId: string): Promise<void>;
  onError(error: unknown, where: string): void;
}

/** A run that nobody here can drive is offered again after so long. */
const unknownMs = 5_000;
/** A run whose driver threw goes on after so long. */
const crashedMs = 5_000;

export class Holder implements RunHost {
  readonly alarms = new Alarms();
  readonly #options: HolderOptions;
  readonly #held = new Map<string, LiveRun>();
  /** They only wait, the longest first. */
  readonly #idle = new Set<LiveRun>();
  readonly #nudged = new Set<string>();
  readonly #loading = new Map<string, number>();
  #reserved = 0;
  #stopping = false;
  concurrency = 0;

  constructor(options: HolderOptions) {
    this.#options = options;
  }

  get workerId(): string {
    return this.#options.workerId;
  }
  get store(): WorkflowStore {
    return this.#options.store;
  }
  get committer(): Committer {
    return this.#options.committer;
  }
  get observers(): Observers {
    return this.#options.observers;
  }
  get stepEvents(): RunHost['stepEvents'] {
    return this.#options.stepEvents;
  }
  get residencyMs(): number {
    return this.#options.residencyMs;
  }
  get held(): number {
    return this.#held.size;
  }
  get waiting(): number {
    return this.#idle.size;
  }

  find(runId: string): LiveRun | undefined {
    return this.#held.get(runId);
  }

  /** There may be messages for runs that are held here. */
  nudge(runIds: Iterable<string>): void {
    for (const runId of runIds) {
      this.#held.get(runId)?.nudge();
      if (this.#loading.has(runId)) this.#nudged.add(runId);
    }
  }

  /** Notices may have been missed. `only`: those that it says yes to. */
  nudgeAll(only: (run: LiveRun) => boolean = () => true): void {
    for (const run of this.#held.values()) if (only(run)) run.nudge();
  }

  /** A place for a run that is about to be started here; false: it goes to its queue. */
  reserve(definition: AnyWorkflowDefinition): boolean {
    const { registry, epoch } = this.#options;
    if (this.#stopping || epoch() === null || !registry.works(definition)) return false;
    if (definition.limits !== null || definition.keyLimits !== null) return false;
    if (!this.#makeRoom()) return false;
    this.#reserved += 1;
    return true;
  }

  unreserve(): void {
    this.#reserved -= 1;
  }

  /** It was stored as held by this epoch, in the place that was reserved. */
  born(info: RunInfo, definition: AnyWorkflowDefinition, epoch: number): void {
    this.#reserved -= 1;
    tellObservers(this.observers, this.onError, (it) => it.created?.(info));
    const { ownVerbs = [] } = definition;
    const record = new RunRecord();
    const run = new LiveRun(this, { info, epoch, born: true, record, messages: [], ownVerbs });
    this.#hold(run);
    if (this.#options.epoch() !== epoch) run.lose(epochOver());
    void this.#drive(run, definition, false);
  }

  /** The job of a run: holds it for as long as it can be driven. */
  async claimed(runId: string, job: JobContext): Promise<void> {
    const before = this.#held.get(runId);
    if (before) await before.over; // its rest was stored, and the answer is on its way
    if (this.#stopping) throw snooze(0, 'This process stops.');
    const epoch = this.#options.epoch();
    if (epoch === null) throw snooze(100, 'This process holds no runs just now.');
    const held = await this.#load(runId, epoch, job);
    if (held === null) return;
    const stop = () => {
      if (held.run.status === 'held' && job.signal.reason?.code === 'LEASE_LOST') {
        held.run.lose(job.signal.reason);
      }
    };
    job.signal.addEventListener('abort', stop, { once: true });
    const crash = await this.#drive(held.run, held.definition, true);
    job.signal.removeEventListener('abort', stop);
    if (crash !== null) throw crash.error;
    // It could not be handed on: the job stands for it. Of a dead epoch or of another's run it is
    // nobody's business here.
    if (held.run.status === 'lost' && !isLost(held.run.signal.reason)) {
      throw snooze(this.#stopping ? 0 : crashedMs, 'The run could not be handed on.');
    }
  }

  async #load(
    runId: string,
    epoch: number,
    job: JobContext,
  ): Promise<{ run: LiveRun; definition: AnyWorkflowDefinition } | null> {
    this.#loading.set(runId, (this.#loading.get(runId) ?? 0) + 1);
    try {
      const loaded = await this.store.load(runId);
      if (loaded === null || loaded.end !== null || loaded.rest !== null) return null;
      const definition = await this.#options.registry.definitionFor(loaded.info);
      if (definition === null) throw snooze(unknownMs, unknownRun(loaded.info));
      if (this.#held.has(runId) || job.signal.aborted) return null;
      if (this.#options.epoch() !== epoch) return null; // the job is somebody else's by now
      return { run: this.#take(loaded, definition, epoch), definition };
    } finally {
      const left = (this.#loading.get(runId) as number) - 1;
      if (left > 0) this.#loading.set(runId, left);
      else {
        this.#loading.delete(runId);
        this.#nudged.delete(runId);
      }
    }
  }

  #take(loaded: LoadedRun, definition: AnyWorkflowDefinition, epoch: number): LiveRun {
    const { info, changes, messages } = loaded;
    const record = new RunRecord();
    for (const change of changes) record.apply(parseChange(change));
    const { ownVerbs = [] } = definition;
    const run = new LiveRun(this, { info, epoch, born: false, record, messages, ownVerbs });
    this.#hold(run);
    if (this.#nudged.delete(info.runId)) run.nudge();
    return run;
  }

  #hold(run: LiveRun): void {
    const { runId } = run.info;
    this.#held.set(runId, run);
    this.#makeRoom();
    tellObservers(this.observers, this.onError, (it) =>
      it.held?.(run, run.born ? 'born' : 'claimed'),
    );
    void run.over.then(() => {
      if (this.#held.get(runId) === run) this.#held.delete(runId);
      this.#idle.delete(run);
    });
  }

  /** Null, or what the driver threw while the run was its own. */
  async #drive(
    run: LiveRun,
    definition: AnyWorkflowDefinition,
    claimed: boolean,
  ): Promise<{ readonly error: unknown } | null> {
    let crash: { readonly error: unknown } | null = null;
    try {
      if (claimed && !(await run.obey())) return null;
      if (this.#stopping) run.drain(stopping());
      const driving = definition.drive(run);
      driving.catch(() => {});
      await Promise.race([driving, run.over]);
    } catch (error) {
      crash = { error };
    }
    if (run.status !== 'held') return null;
    if (run.seized) {
      await run.over; // a verb ends it
      return null;
    }
    if (this.#stopping) {
      await this.#release(run, 0);
      return null;
    }
    crash ??= { error: gaveUp(run.info) };
    this.onError(crash.error, `run ${run.info.runId}`);
    if (!claimed) {
      await this.#release(run, crashedMs);
      return null;
    }
    run.lose(crash.error);
    return crash;
  }

  async #release(run: LiveRun, delayMs: number): Promise<void> {
    try {
      await run.release(stopping(), delayMs);
    } catch (error) {
      run.lose(error);
      this.onError(error, `handing on run ${run.info.runId}`);
    }
  }

  /** Nothing held under the epoch counts any more. */
  lose(epoch: number, cause: MillraceError): void {
    for (const run of [...this.#held.values()]) if (run.epoch === epoch) run.lose(cause);
  }

  /** Takes nothing more, lets handlers finish, and hands on what is not over by then. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    const cause = stopping();
    for (const run of [...this.#held.values()]) run.drain(cause);
    await this.#allGone(graceMs);
    for (const run of this.#held.values()) run.abort(cause);
    await this.#allGone(1_000);
    // Handlers that do not listen to their signal: what they come to is not taken.
    await Promise.all([...this.#held.values()].map((run) => this.#release(run, 0)));
  }

  async #allGone(limitMs: number): Promise<void> {
    if (this.#held.size === 0) return;
    const done = new AbortController();
    const gone = Promise.all([...this.#held.values()].map(({ over }) => over));
    await Promise.race([gone, sleep(limitMs, done.signal)]);
    done.abort();
  }

  // What runs need.

  crowded(): boolean {
    return this.#held.size + this.#reserved >= this.concurrency;
  }

  idle(run: LiveRun, waits: boolean): void {
    if (waits) this.#idle.add(run);
    else this.#idle.delete(run);
  }

  log(info: RunInfo, step: StepRecord | null): JobLog {
    return this.#options.log(info, step);
  }

  adopt(start: NewRun): NewRun {
    const definition = this.#options.registry.knownFor(start);
    if (start.held || start.delayMs > 0 || definition === null) return start;
    return this.reserve(definition) ? { ...start, held: true } : start;
  }

  adopted(starts: readonly NewRun[], stored: boolean, epoch: number): void {
    for (const start of starts) {
      if (!start.held) {
        if (stored)
          tellObservers(this.observers, this.onError, (it) => it.created?.(infoOf(start)));
        continue;
      }
      const definition = this.#options.registry.knownFor(start);
      if (stored && definition !== null) this.born(infoOf(start), definition, epoch);
      else this.unreserve();
    }
  }

  applied(run: LiveRun, commit: RunCommit): void {
    const { runId, parent } = run.info;
    const { finishes, rested, staged } = this.#options;
    const { end, rest, messages, events } = commit;
    if (end !== undefined) {
      finishes.finish(runId, end);
      if (parent !== null) this.nudge([parent.runId]);
    } else if (isFinish(commit.state) && !run.record.notes.has('compensating')) {
      finishes.finish(runId, {
        state: commit.state,
        resultJson: null,
        error: failureOf(run.record),
      });
    }
    if (messages !== undefined) this.nudge(messages.map((message) => message.runId));
    if (events !== undefined && events.length > 0) staged();
    if (rest !== undefined && rest.wakeAt !== null) rested(rest.wakeAt);
  }

  woken(queues: readonly string[]): void {
    this.#options.woken(queues);
  }

  cancelChildren(runId: string): Promise<void> {
    return this.#options.cancelChildren(runId);
  }

  readonly onError = (error: unknown, where: string): void => {
    this.#options.onError(error, where);
  };

  /** Room for one more; runs that only wait make it. */
  #makeRoom(): boolean {
    if (!this.crowded()) return true;
    for (const run of this.#idle) {
      run.wake('rest'); // it leaves soon: one too many for a moment
      return true;
    }
    return false;
  }
}

/** A run that was stored just now. */
export function infoOf(run: NewRun): RunInfo {
  const { held: _held, delayMs: _delayMs, ...info } = run;
  return { ...info, startedAt: Date.now() };
}

function unknownRun({ namespace, name, version }: RunInfo): string {
  return `Nothing here drives ${namespace}/${name} ${version}.`;
}

function gaveUp({ runId }: RunInfo): MillraceError {
  return new MillraceError('WORKFLOW_STATE', `The driver of run ${runId} gave it up half-way.`);
}

function epochOver(): MillraceError {
  return new MillraceError('LEASE_LOST', "This worker's epoch is over; its runs go on elsewhere.");
}
