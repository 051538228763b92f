/**
 * The schedules of a face, as the engine keeps them: names are scoped by prefix, and each face sees
 * schedules of its own kind only. A name is one schedule of a tenant, which `tenantId` says and
 * nobody guesses from the data: else a change of the data would make a second schedule.
 */
import type { ScheduleOptions } from '../core/schedule-rule.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { ScheduleView } from '../jobs/schedule/schedules.ts';
import type { Connection, Engine } from './connection.ts';
import type { ScheduledJob } from './cron-scheduler.ts';
import { asQueueError } from './errors.ts';
import { toEnqueue } from './job-request.ts';

/** A schedule as it stands in the store. */
export interface StoredSchedule {
  readonly name: string;
  /** In plain words: `at 02:00 every day (UTC)`. */
  readonly description: string;
  readonly type: string;
  readonly data: unknown;
  readonly queue: string;
  readonly tenantId: string;
  readonly paused: boolean;
  /** Null when it will not fire any more. */
  readonly nextAt: Date | null;
  readonly lastAt: Date | null;
}

export class ScheduleBook {
  readonly #connection: Connection;
  readonly #defaultQueue: string;
  readonly #kind: 'cron' | 'at';

  constructor(connection: Connection, defaultQueue: string, kind: 'cron' | 'at') {
    this.#connection = connection;
    this.#defaultQueue = defaultQueue;
    this.#kind = kind;
  }

  save(name: string, rule: ScheduleOptions, job: ScheduledJob): Promise<StoredSchedule> {
    return this.#ask(async (jobs, engine) => {
      const queue = engine.scoped(job.queue ?? this.#defaultQueue);
      const tenantId = job.tenantId ?? 'default';
      const { definition, payload, options } = toEnqueue(queue, { ...job, tenantId });
      const { delayMs: _, dependsOn: __, ...rest } = options;
      const saved = await jobs.schedule(engine.scoped(name), rule, definition, payload, rest);
      return toStored(saved, engine);
    });
  }

  /** False when there is none that will fire. */
  remove(name: string, tenantId = 'default'): Promise<boolean> {
    return this.#ask(async (jobs, engine) => {
      const found = await this.#find(jobs, engine, name, tenantId);
      const removed = found !== null && (await jobs.unschedule(found.name, tenantId));
      return removed && found.nextAt !== null;
    });
  }

  list(): Promise<StoredSchedule[]> {
    return this.#ask(async (jobs, engine) => {
      const mine = (await jobs.schedules()).filter(
        ({ name, rule }) => engine.unscoped(name) !== null && rule[this.#kind] !== undefined,
      );
      return mine.map((view) => toStored(view, engine));
    });
  }

  pause(name: string, tenantId = 'default'): Promise<StoredSchedule> {
    return this.#ask(async (jobs, engine) =>
      toStored(await jobs.pauseSchedule(engine.scoped(name), tenantId), engine),
    );
  }

  resume(name: string, tenantId = 'default'): Promise<StoredSchedule> {
    return this.#ask(async (jobs, engine) =>
      toStored(await jobs.resumeSchedule(engine.scoped(name), tenantId), engine),
    );
  }

  /** A schedule of another kind is none of this face's. */
  async #find(
    jobs: Jobs,
    engine: Engine,
    name: string,
    tenantId: string,
  ): Promise<ScheduleView | null> {
    const scoped = engine.scoped(name);
    const found = (await jobs.schedules(tenantId)).find((view) => view.name === scoped);
    return found?.rule[this.#kind] === undefined ? null : found;
  }

  async #ask<T>(act: (jobs: Jobs, engine: Engine) => Promise<T>): Promise<T> {
    try {
      const { engine } = this.#connection;
      return await engine.call((jobs) => act(jobs, engine));
    } catch (error) {
      throw asQueueError(error);
    }
  }
}

function toStored(view: ScheduleView, engine: Engine): StoredSchedule {
  const { name, description, job, tenantId, paused, nextAt, lastAt } = view;
  return {
    name: engine.unscoped(name) ?? name,
    description,
    type: job.name,
    data: JSON.parse(job.payloadJson),
    queue: engine.unscoped(job.queue) ?? job.queue,
    tenantId,
    paused,
    nextAt: nextAt === null ? null : new Date(nextAt),
    lastAt: lastAt === null ? null : new Date(lastAt),
  };
}
