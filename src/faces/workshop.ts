/**
 * Who does what in this process: the processors that faces registered, by queue and by type, and
 * which queues are worked on. One workshop belongs to one engine; the faces only fill it, and
 * job-runner.ts runs what the engine claims.
 *
 * A queue is worked on as soon as it is open: by `JobQueue.process` for its own queue, by
 * `WorkerManager.start` for those of the manager. What is taken out again is worked on until the
 * engine is renewed, since an engine cannot stop one queue.
 */
import type { AnyJobDefinition } from '../core/job-definition.ts';
import { snooze } from '../core/job-outcome.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { Engine } from './connection.ts';
import { messageOf, WorkerError } from './errors.ts';
import type { Processor } from './job-processor.ts';
import { JobRunner, type WorkPolicy } from './job-runner.ts';
import { readWork } from './settings.ts';
import { Slots } from './slots.ts';

interface QueueEntry {
  readonly name: string;
  priority: number;
  concurrency: number | null;
  processor: Processor | null;
  open: boolean;
  /** By JobQueue.process: whether there is a manager or not. */
  byItself: boolean;
}

/** A manager's share in the work. */
export interface Hire {
  readonly slots: number;
  /** What it works on; null for all that is declared, and 'default'. */
  readonly queues: readonly string[] | null;
}

/** What a face works on by a definition of its own. */
export interface Employment {
  readonly concurrency: number;
  define(jobs: Jobs): AnyJobDefinition;
}

export class Workshop {
  readonly slots = new Slots();
  readonly #engine: Engine;
  readonly #queues = new Map<string, QueueEntry>();
  readonly #types = new Map<string, Processor>();
  /** Of the managers there are; the last one counts. */
  readonly #policies: WorkPolicy[] = [{ ...readWork({}), errorRecovery: null }];
  #jobs: Jobs | null = null;
  /** The managers that work here. */
  readonly #hired = new Set<Hire>();
  readonly #employments = new Set<Employment>();
  readonly #runner: JobRunner;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#runner = new JobRunner({
      slots: this.slots,
      policy: () => this.#policy,
      processorFor: (queue, type) => this.processorFor(queue, type),
      onError: (error) => this.report(error),
    });
  }

  /** Some queue is worked on. */
  get busy(): boolean {
    return this.#employments.size > 0 || [...this.#queues.values()].some(({ open }) => open);
  }

  get openQueues(): readonly string[] {
    return [...this.#queues.values()].filter(({ open }) => open).map(({ name }) => name);
  }

  /** How jobs of this process are run that say nothing themselves. */
  adopt(policy: WorkPolicy): void {
    this.#policies.push(policy);
    if (this.#jobs !== null) this.#openAll(this.#jobs);
  }

  drop(policy: WorkPolicy): void {
    this.#policies.splice(this.#policies.indexOf(policy), 1);
    if (this.#jobs !== null) this.#openAll(this.#jobs);
  }

  get #policy(): WorkPolicy {
    return this.#policies.at(-1) as WorkPolicy;
  }

  /** Makes a queue known, or says more about it. */
  declare(
    name: string,
    { priority, concurrency }: { priority?: number | undefined; concurrency?: number | undefined },
  ): void {
    const entry = this.#entry(name);
    if (priority !== undefined) entry.priority = priority;
    if (concurrency !== undefined) entry.concurrency = concurrency;
    this.#openSoon();
  }

  priorityOf(queue: string): number {
    return this.#queues.get(queue)?.priority ?? 0;
  }

  /** @throws WorkerError DEFINITION_INVALID when the queue has one. */
  addQueue(name: string, processor: Processor): void {
    const entry = this.#entry(name);
    if (entry.processor !== null) throw taken(`The queue '${name}'`);
    entry.processor = processor;
    this.#openSoon();
  }

  /** For jobs of a type in any queue that is worked on. @throws as `addQueue` */
  addType(type: string, processor: Processor): void {
    if (this.#types.has(type)) throw taken(`The type '${type}'`);
    this.#types.set(type, processor);
    this.#openSoon();
  }

  /** A manager begins: its queues are worked on as far as there is a processor. */
  async hire(hire: Hire): Promise<void> {
    this.#hired.add(hire);
    this.#count();
    try {
      await this.open(this.#workable());
      await this.#engine.start();
    } catch (error) {
      this.dismiss(hire);
      throw error;
    }
  }

  /** A manager ends. Takes effect on what is open with the engine's next renewal. */
  dismiss(hire: Hire): void {
    this.#hired.delete(hire);
    this.#count();
    const workable = new Set(this.#workable());
    for (const entry of this.#queues.values())
      entry.open &&= entry.byItself || workable.has(entry.name);
  }

  /** No more work for these processors, from the engine's next renewal on. */
  retire(processors: ReadonlySet<Processor>): void {
    for (const entry of this.#queues.values()) {
      if (entry.processor === null || !processors.has(entry.processor)) continue;
      entry.open = entry.byItself = false;
    }
  }

  /** After the renewal: nothing runs any more that might ask for them. */
  remove(processors: ReadonlySet<Processor>): void {
    for (const [type, processor] of this.#types) {
      if (processors.has(processor)) this.#types.delete(type);
    }
    for (const entry of this.#queues.values()) {
      if (entry.processor !== null && processors.has(entry.processor)) entry.processor = null;
    }
  }

  processorFor(queue: string | undefined, type: string): Processor | null {
    const own = queue === undefined ? undefined : this.#queues.get(queue)?.processor;
    return this.#types.get(type) ?? own ?? null;
  }

  /** Works on a queue from now on, with or without a manager. */
  async openByItself(name: string): Promise<void> {
    this.#entry(name).byItself = true;
    await this.open([name]);
  }

  async open(names: readonly string[]): Promise<void> {
    for (const name of names) this.#entry(name).open = true;
    if (this.#jobs !== null) this.#openAll(this.#jobs); // else when it is furnished
    if (this.busy) await this.#engine.start();
  }

  /** A definition of a face's own. Made for each engine anew, which it is given. */
  async employ(employment: Employment): Promise<void> {
    this.#employments.add(employment);
    if (this.#jobs !== null) openEmployment(this.#jobs, employment);
    await this.#engine.start();
  }

  /** No more of it, from the engine's next renewal on. */
  release(employments: Iterable<Employment>): void {
    for (const employment of employments) this.#employments.delete(employment);
  }

  /** The engine is connected, perhaps again. */
  furnish(jobs: Jobs): void {
    this.#jobs = jobs;
    this.#openAll(jobs);
  }

  /** The engine ends: what has not begun is handed back. */
  letGo(): void {
    this.#jobs = null;
    this.slots.turnAway(snooze(0, 'The worker that had the job was stopped.'));
  }

  report(error: unknown): void {
    process.emitWarning(`A worker could not go on: ${messageOf(error)}`, {
      type: 'MillraceWarning',
    });
  }

  #entry(name: string): QueueEntry {
    const known = this.#queues.get(name);
    if (known !== undefined) return known;
    const entry: QueueEntry = {
      name,
      priority: 0,
      concurrency: null,
      processor: null,
      open: false,
      byItself: false,
    };
    this.#queues.set(name, entry);
    return entry;
  }

  #count(): void {
    const slots = [...this.#hired].reduce((sum, hire) => sum + hire.slots, 0);
    this.slots.capacity = slots === 0 ? Number.POSITIVE_INFINITY : slots;
  }

  /** What the managers work on: without a processor for anything in it, a queue is left alone. */
  #workable(): string[] {
    const declared = [...this.#queues.keys(), 'default'];
    const wanted = [...this.#hired].flatMap(({ queues }) => queues ?? declared);
    const anyType = this.#types.size > 0;
    return [...new Set(wanted)].filter((name) => anyType || this.#queues.get(name)?.processor);
  }

  /** Something was declared or registered while a manager works. */
  #openSoon(): void {
    if (this.#hired.size === 0) return;
    void this.open(this.#workable()).catch((error) => this.report(error));
  }

  #openAll(jobs: Jobs): void {
    for (const entry of this.#queues.values()) {
      if (!entry.open) continue;
      const scoped = this.#engine.scoped(entry.name);
      const concurrency = entry.concurrency ?? this.#policy.concurrency;
      jobs.workQueue(scoped, this.#runner.definitionOf(scoped, entry, jobs), { concurrency });
    }
    for (const employment of this.#employments) openEmployment(jobs, employment);
  }
}

function openEmployment(jobs: Jobs, { define, concurrency }: Employment): void {
  jobs.work(define(jobs), { concurrency });
}

function taken(what: string): WorkerError {
  return new WorkerError('DEFINITION_INVALID', `${what} has a processor in this process.`, {
    fix: 'Register one processor for each queue and each type; it may hand on what it gets.',
  });
}
