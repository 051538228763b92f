/**
 * `OneTimeScheduler`: a job at a moment, kept in the store by name until it is fired. A delayed job
 * does the same without a name; a schedule can be found, moved and removed by it.
 */
import { describeKind } from '../core/describe.ts';
import { Connection, type ConnectionOptions } from './connection.ts';
import type { ScheduledJob } from './cron-scheduler.ts';
import { asWorkerError, QueueError } from './errors.ts';
import { ScheduleBook, type StoredSchedule } from './schedule-book.ts';

export interface OneTimeSchedulerOptions extends ConnectionOptions {
  /** For jobs without a queue of their own; 'default' by default. */
  readonly defaultQueue?: string | undefined;
}

export interface OneTimeSchedule {
  /** At once when it has passed. */
  readonly executeAt: Date;
  readonly job: ScheduledJob;
}

export class OneTimeScheduler {
  readonly #connection: Connection;
  readonly #book: ScheduleBook;

  /** Connects when it is first used. @throws MillraceError CONFIG_INVALID */
  constructor(options: OneTimeSchedulerOptions = {}) {
    this.#connection = new Connection('OneTimeScheduler', options);
    this.#book = new ScheduleBook(this.#connection, options.defaultQueue ?? 'default', 'at');
  }

  /**
   * Stores a schedule, or moves the one of that name, and starts the scheduler of this process, so
   * that it fires here if nowhere else.
   * @throws QueueError SCHEDULE_INVALID naming the field.
   */
  async schedule(name: string, { executeAt, job }: OneTimeSchedule): Promise<StoredSchedule> {
    if (!(executeAt instanceof Date) || Number.isNaN(executeAt.getTime())) {
      const found = describeKind(executeAt);
      throw new QueueError('SCHEDULE_INVALID', `${name}: executeAt is ${found}, not a time.`, {
        fix: 'Give a Date, such as new Date(Date.now() + 60_000).',
      });
    }
    const saved = await this.#book.save(name, { at: executeAt }, job);
    await this.start();
    return saved;
  }

  /** False when there is none, or it has fired. */
  cancel(name: string, tenantId?: string): Promise<boolean> {
    return this.#book.remove(name, tenantId);
  }

  /** What has not fired yet, by name. */
  async list(): Promise<StoredSchedule[]> {
    return (await this.#book.list()).filter(({ nextAt }) => nextAt !== null);
  }

  async start(): Promise<void> {
    try {
      await this.#connection.engine.start();
    } catch (error) {
      throw asWorkerError(error);
    }
  }

  /** Schedules stay, and fire wherever else a scheduler or a worker runs. */
  async stop(): Promise<void> {
    await this.#connection.close();
  }

  /** The same as `stop`. */
  close(): Promise<void> {
    return this.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
