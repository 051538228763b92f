/**
 * `CronScheduler`: jobs at every tick of a cron line, kept in the store by name. Every process may
 * make the same schedules at every start, and any number may run the scheduler: each tick enqueues
 * one job.
 */
import type { Misfire } from '../core/schedule-rule.ts';
import { Connection, type ConnectionOptions } from './connection.ts';
import { asWorkerError } from './errors.ts';
import type { JobRequest } from './job.ts';
import { ScheduleBook, type StoredSchedule } from './schedule-book.ts';

/** A job that a schedule enqueues. */
export interface ScheduledJob extends Omit<JobRequest, 'delay' | 'dependsOn' | 'tenantId'> {
  /** Whose schedule and whose jobs; 'default' by default, whatever `data` says. */
  readonly tenantId?: string | undefined;
  /** That of the scheduler, else 'default'. */
  readonly queue?: string | undefined;
}

export interface CronSchedulerOptions extends ConnectionOptions {
  /** IANA name, for schedules without one of their own; UTC by default. */
  readonly timezone?: string | undefined;
  /** For jobs without a queue of their own; 'default' by default. */
  readonly defaultQueue?: string | undefined;
}

export interface CronSchedule {
  /** Five fields, six with seconds in front, or @hourly, @daily, @weekly, @monthly, @yearly. */
  readonly cron: string;
  readonly job: ScheduledJob;
  readonly timezone?: string | undefined;
  /** What becomes of ticks that no scheduler was there for; one job for all by default. */
  readonly misfire?: Misfire | undefined;
  /** No tick after it. */
  readonly until?: Date | undefined;
}

export class CronScheduler {
  readonly #connection: Connection;
  readonly #book: ScheduleBook;
  readonly #timezone: string;

  /** Connects when it is first used. @throws MillraceError CONFIG_INVALID */
  constructor(options: CronSchedulerOptions = {}) {
    const { timezone = 'UTC', defaultQueue = 'default' } = options;
    this.#timezone = timezone;
    this.#connection = new Connection('CronScheduler', options);
    this.#book = new ScheduleBook(this.#connection, defaultQueue, 'cron');
  }

  /**
   * Stores a schedule, or changes the one of that name. It fires while any scheduler is started,
   * here or elsewhere.
   * @throws QueueError SCHEDULE_INVALID naming the field.
   */
  schedule(name: string, schedule: CronSchedule): Promise<StoredSchedule> {
    const { cron, job, timezone = this.#timezone, misfire, until } = schedule;
    return this.#book.save(name, { cron, timezone, misfire, until }, job);
  }

  /** False when there is none. Jobs that it enqueued stay. */
  unschedule(name: string, tenantId?: string): Promise<boolean> {
    return this.#book.remove(name, tenantId);
  }

  /** The cron schedules there are, by name. */
  list(): Promise<StoredSchedule[]> {
    return this.#book.list();
  }

  /** @throws QueueError NOT_FOUND */
  pause(name: string, tenantId?: string): Promise<StoredSchedule> {
    return this.#book.pause(name, tenantId);
  }
  /** Ticks of the pause are left out. @throws QueueError NOT_FOUND */
  resume(name: string, tenantId?: string): Promise<StoredSchedule> {
    return this.#book.resume(name, tenantId);
  }

  /** Fires what is due, here as well as wherever else a scheduler or a worker runs. */
  async start(): Promise<void> {
    try {
      await this.#connection.engine.start();
    } catch (error) {
      throw asWorkerError(error);
    }
  }

  /** Schedules stay; ticks wait for other schedulers, or for the next start of this one. */
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
