/**
 * What every event system promises: it can be started, stopped, asked and given an event, and its
 * mode can be changed while it runs. `WorkerEventSystem` is the one for step messages.
 */
import type { EventSystemMode } from '../../configuration/configuration.ts';
import { MillraceError } from '../../core/errors.ts';
import { deploymentModes } from '../../runtime/heads.ts';

export type { EventSystemMode };

/** `Disabled` finds nothing and starts nothing. */
export const eventSystemModes: readonly EventSystemMode[] = [...deploymentModes, 'Disabled'];

export interface SystemStatistics {
  readonly eventsProcessed: number;
  readonly eventsFailed: number;
  /** Events a second, over the last minute. */
  readonly processingRate: number;
  readonly averageLatencyMs: number;
}

export type HealthStatus = 'healthy' | 'degraded' | 'unhealthy' | 'stopped';

export interface SystemHealth {
  readonly status: HealthStatus;
  readonly problems: readonly string[];
  readonly systemId: string;
  readonly deploymentMode: EventSystemMode;
  /** ISO 8601. */
  readonly checkedAt: string;
}

export interface EventDrivenSystem<Event, Statistics extends SystemStatistics = SystemStatistics> {
  readonly systemId: string;
  readonly deploymentMode: EventSystemMode;
  readonly isRunning: boolean;
  /** Safe to call again. @throws MillraceError SHUTTING_DOWN, STORE_UNAVAILABLE */
  start(): Promise<void>;
  /** Resolves when nothing of it runs any more; it can be started again. */
  stop(options?: { readonly graceMs?: number }): Promise<void>;
  /** Takes one event on its way; resolves when it was taken or shed, not when it was worked off. */
  processEvent(event: Event): Promise<void>;
  statistics(): Statistics;
  /** While running or not: nothing is lost, doubled or restarted. @throws CONFIG_INVALID */
  switchMode(mode: EventSystemMode): Promise<void>;
  health(): Promise<SystemHealth>;
}

/** @throws MillraceError CONFIG_INVALID */
export function checkSystemMode(mode: EventSystemMode): EventSystemMode {
  if (eventSystemModes.includes(mode)) return mode;
  throw new MillraceError(
    'CONFIG_INVALID',
    `The mode is '${mode}'; it can be ${eventSystemModes.join(', ')}.`,
  );
}

export const listensIn = (mode: EventSystemMode): boolean =>
  mode === 'Hybrid' || mode === 'EventDrivenOnly';
export const pollsIn = (mode: EventSystemMode): boolean =>
  mode === 'Hybrid' || mode === 'PollingOnly';
