/**
 * How many workers there should be: pure arithmetic over what the workers say of themselves and
 * what waits. WorkerScaler asks it once per interval and does what it answers.
 */
import { WorkerError } from '../errors.ts';

export interface ScalingOptions {
  /** 1 by default. */
  readonly minWorkers?: number | undefined;
  /** 10 by default. */
  readonly maxWorkers?: number | undefined;
  /** From this utilization on there are too few; 0.8 by default. */
  readonly scaleUpThreshold?: number | undefined;
  /** Down to this utilization there are too many; 0.2 by default. */
  readonly scaleDownThreshold?: number | undefined;
  /** Milliseconds after a step up until the next one up; 5 minutes by default. */
  readonly scaleUpCooldown?: number | undefined;
  /** Milliseconds after any step until one down; 10 minutes by default. */
  readonly scaleDownCooldown?: number | undefined;
  /** Milliseconds between looks; 10,000 by default. */
  readonly interval?: number | undefined;
}

export type ScalingSettings = Readonly<Record<keyof ScalingOptions, number>>;

const workersMax = 10_000;
const timerMsMax = 2_147_483_647;

/** Default, lowest and highest value. */
const ranges: Readonly<Record<keyof ScalingOptions, readonly [number, number, number]>> = {
  minWorkers: [1, 0, workersMax],
  maxWorkers: [10, 1, workersMax],
  scaleUpThreshold: [0.8, 0.01, 100],
  scaleDownThreshold: [0.2, 0, 100],
  scaleUpCooldown: [300_000, 0, timerMsMax],
  scaleDownCooldown: [600_000, 0, timerMsMax],
  interval: [10_000, 10, timerMsMax],
};
const names = Object.keys(ranges) as readonly (keyof ScalingOptions)[];

/** @throws WorkerError CONFIG_INVALID naming the option. */
export function parseScaling(options: ScalingOptions = {}): ScalingSettings {
  const settings = Object.fromEntries(
    names.map((name) => [name, readOption(name, options[name])]),
  ) as ScalingSettings;
  const { minWorkers, maxWorkers, scaleUpThreshold, scaleDownThreshold } = settings;
  if (minWorkers > maxWorkers) {
    throw invalid(`scaling.minWorkers is ${minWorkers}, above maxWorkers ${maxWorkers}.`);
  }
  if (scaleDownThreshold >= scaleUpThreshold) {
    const problem = `is ${scaleDownThreshold}, not below scaleUpThreshold ${scaleUpThreshold}`;
    throw invalid(`scaling.scaleDownThreshold ${problem}: the number would never rest.`);
  }
  return settings;
}

function readOption(name: keyof ScalingOptions, given: number | undefined): number {
  const [fallback, min, max] = ranges[name];
  const value = given ?? fallback;
  const whole = name.endsWith('Threshold') || Number.isInteger(value);
  if (whole && value >= min && value <= max) return value;
  const kind = name.endsWith('Threshold') ? 'a number' : 'a whole number';
  throw invalid(`scaling.${name} is ${value}, not ${kind} from ${min} to ${max}.`);
}

function invalid(message: string): WorkerError {
  return new WorkerError('CONFIG_INVALID', message);
}

export interface Load {
  /** Live workers that have said so. */
  readonly workers: number;
  readonly running: number;
  readonly concurrency: number;
  /** Jobs that could run now and wait. */
  readonly waiting: number;
}

/**
 * Share of what the workers can do at a time that is wanted of them. Above 1 jobs wait; null when
 * no worker is there to tell.
 */
export function utilizationOf({ running, waiting, concurrency }: Load): number | null {
  return concurrency === 0 ? null : (running + waiting) / concurrency;
}

export interface Situation {
  /** Workers there are meant to be now. */
  readonly count: number;
  readonly load: Load;
  /** Since the last step up, and since the last step of any kind; Infinity for never. */
  readonly sinceUpMs: number;
  readonly sinceStepMs: number;
}

export interface Decision {
  readonly count: number;
  /** In words, for events and people. */
  readonly reason: string;
  /** It only keeps minWorkers or maxWorkers. */
  readonly limit?: boolean;
}

/**
 * A step up aims at the middle of the thresholds and at most doubles the number; one down aims at
 * the same. The limits hold at once, the thresholds after their cooldowns.
 */
export function decide(settings: ScalingSettings, situation: Situation): Decision {
  const { minWorkers, maxWorkers, scaleUpThreshold, scaleDownThreshold } = settings;
  const { count, load, sinceUpMs, sinceStepMs } = situation;
  const stay = (reason: string): Decision => ({ count, reason });
  const bound = Math.min(Math.max(count, minWorkers), maxWorkers);
  if (bound !== count) {
    const reason = count < bound ? `below minWorkers ${bound}` : `above maxWorkers ${bound}`;
    return { count: bound, reason, limit: true };
  }
  if (count === 0) {
    const { waiting } = load;
    return waiting > 0 ? { count: 1, reason: `${waiting} jobs wait, no worker` } : stay('no jobs');
  }
  const utilization = utilizationOf(load);
  if (utilization === null) return stay('no worker has said yet how busy it is');
  const aim = Math.ceil((count * utilization) / ((scaleUpThreshold + scaleDownThreshold) / 2));
  const shown = `utilization ${utilization.toFixed(2)}`;
  if (utilization >= scaleUpThreshold) {
    if (count >= maxWorkers) return stay(`${shown}, maxWorkers reached`);
    if (sinceUpMs < settings.scaleUpCooldown) return stay(`${shown}, cooling down`);
    const wanted = Math.min(maxWorkers, count * 2, Math.max(count + 1, aim));
    return { count: wanted, reason: `${shown} from ${scaleUpThreshold} on` };
  }
  if (utilization <= scaleDownThreshold) {
    if (count <= minWorkers) return stay(`${shown}, minWorkers reached`);
    if (sinceStepMs < settings.scaleDownCooldown) return stay(`${shown}, cooling down`);
    const wanted = Math.max(minWorkers, Math.min(count - 1, aim));
    return { count: wanted, reason: `${shown} down to ${scaleDownThreshold}` };
  }
  return stay(`${shown} is fine`);
}
