/**
 * Schedules as `Jobs` offers them: saved, listed, paused, and fired by this process's scheduler
 * while it is started. Saving what is there already changes nothing, so that every process may save
 * its schedules at every start: no tick is lost or moved by it, and what is paused stays paused.
 */
import { type Clock, systemClock } from '../../core/clock.ts';
import { MillraceError } from '../../core/errors.ts';
import { findTextFault } from '../../core/event-fields.ts';
import type { NewJob } from '../../core/job.ts';
import {
  parseScheduleRule,
  printScheduleRule,
  type ScheduleOptions,
} from '../../core/schedule-rule.ts';
import { describeSchedule } from '../../core/schedule-words.ts';
import type { ScheduleRecord } from '../../ports/schedules.ts';
import { firstTick } from './firing.ts';
import { Scheduler, type SchedulerOptions } from './scheduler.ts';
import { nextTick, nextTicks } from './ticks.ts';

/** A schedule as people and programs look at it. Times are ISO 8601. */
export interface ScheduleView {
  readonly name: string;
  readonly tenantId: string;
  readonly rule: ScheduleOptions;
  /** The rule in plain words: `at 02:00 every day (Europe/Berlin)`. */
  readonly description: string;
  readonly job: NewJob;
  readonly paused: boolean;
  /** Null when it will not fire any more. */
  readonly nextAt: string | null;
  /** The tick that was enqueued last. */
  readonly lastAt: string | null;
}

export interface Schedules {
  /**
   * Inserts or replaces by (tenant, name). With a new rule it is due at its next tick from now;
   * with the rule it had, when it was due before. Each tick enqueues `job`, whose metadata then
   * has `schedule` and `tick`.
   * @throws SCHEDULE_INVALID
   */
  save(name: string, tenantId: string, rule: ScheduleOptions, job: NewJob): Promise<ScheduleView>;
  /** False when there is none. Jobs that it enqueued stay. */
  remove(name: string, tenantId: string): Promise<boolean>;
  find(name: string, tenantId: string): Promise<ScheduleView | null>;
  /** Of one tenant, or of all. */
  list(tenantId: string | null): Promise<readonly ScheduleView[]>;
  /** @throws NOT_FOUND */
  pause(name: string, tenantId: string): Promise<ScheduleView>;
  /** Ticks of the pause are left out; an `at` that has passed fires. @throws NOT_FOUND */
  resume(name: string, tenantId: string): Promise<ScheduleView>;
  /** Ticks to come, for a preview. @throws SCHEDULE_INVALID */
  preview(rule: ScheduleOptions, count: number, after?: Date): readonly string[];
  start(): void;
  stop(): Promise<void>;
  /** Looks now: another process says that a schedule changed. */
  wake(): void;
  /** Ticks that this process fired. */
  readonly fired: number;
}

const nameCharsMax = 128;

export function createSchedules(options: SchedulerOptions): Schedules {
  const { schedules } = options;
  const clock: Clock = options.clock ?? systemClock;
  const scheduler = new Scheduler(options);
  const store = async (schedule: Omit<ScheduleRecord, 'revision'>): Promise<ScheduleView> => {
    const saved = toView(await schedules.save(schedule));
    scheduler.wake();
    return saved;
  };
  const need = async (name: string, tenantId: string): Promise<ScheduleRecord> => {
    const found = await schedules.find(tenantId, name);
    if (found) return found;
    throw new MillraceError('NOT_FOUND', `Tenant ${tenantId} has no schedule ${name}.`, {
      fix: 'Check the name and the tenant; list the schedules to see which there are.',
    });
  };
  return {
    async save(name, tenantId, given, job) {
      checkName(name, 'name');
      checkName(tenantId, 'tenantId');
      checkJob(name, job);
      const rule = parseScheduleRule(given, `schedule ${name}`);
      const ruleJson = printScheduleRule(rule);
      const before = await schedules.find(tenantId, name);
      const sameRule = before !== null && before.ruleJson === ruleJson;
      if (sameRule && JSON.stringify(before.job) === JSON.stringify(job)) return toView(before);
      const first = sameRule ? before.nextAt : toIso(firstTick(rule, clock.now()));
      const { paused, lastAt } = before ?? { paused: false, lastAt: null };
      return store({ name, tenantId, ruleJson, job, paused, nextAt: first, lastAt });
    },
    remove: (name, tenantId) => schedules.remove(tenantId, name),
    async find(name, tenantId) {
      const found = await schedules.find(tenantId, name);
      return found && toView(found);
    },
    list: async (tenantId) => (await schedules.list(tenantId)).map(toView),
    async pause(name, tenantId) {
      const found = await need(name, tenantId);
      return found.paused ? toView(found) : store({ ...found, paused: true });
    },
    async resume(name, tenantId) {
      const found = await need(name, tenantId);
      if (!found.paused) return toView(found);
      const rule = parseScheduleRule(JSON.parse(found.ruleJson), `schedule ${name}`);
      const nextAt = rule.kind === 'at' ? found.nextAt : toIso(nextTick(rule, clock.now()));
      return store({ ...found, paused: false, nextAt });
    },
    preview(given, count, after = new Date(clock.now())) {
      return nextTicks(parseScheduleRule(given), after, count).map((tick) => tick.toISOString());
    },
    start: () => scheduler.start(),
    stop: () => scheduler.stop(),
    wake: () => scheduler.wake(),
    get fired() {
      return scheduler.fired;
    },
  };
}

const toIso = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString());

/** Looking never fails: a rule of a newer release is shown as it is. */
function toView({ ruleJson, revision: _, ...shown }: ScheduleRecord): ScheduleView {
  const rule = JSON.parse(ruleJson) as ScheduleOptions;
  let description: string;
  try {
    description = describeSchedule(parseScheduleRule(rule));
  } catch {
    description = ruleJson;
  }
  return Object.freeze({ ...shown, rule, description });
}

function checkName(value: unknown, field: string): void {
  const fault = findTextFault(value, nameCharsMax);
  if (fault === null) return;
  throw new MillraceError('SCHEDULE_INVALID', `The schedule's ${field} ${fault.problem}.`, {
    fix:
      fault.fix ?? `Give a ${field} of 1 to ${nameCharsMax} characters, such as 'nightly-report'.`,
    details: { field },
  });
}

function checkJob(name: string, { dependsOn }: NewJob): void {
  if (dependsOn.length === 0) return;
  throw new MillraceError('SCHEDULE_INVALID', `Schedule ${name}: its job has dependsOn.`, {
    fix: 'Leave dependsOn out: each tick would wait for the same jobs, finished after the first.',
  });
}
