/**
 * Other names of keys: the newer layout `worker.event_systems.worker`, and units in the names of
 * durations (`polling_interval_ms`). What a name means is one key of keys.ts, and a unit.
 */
import { keyAt, keyPaths } from './keys.ts';

export interface Meaning {
  /** Null: known, and without effect here. */
  readonly path: string | null;
  /** Milliseconds that the number counts; null: the key's own way of writing. */
  readonly unitMs: number | null;
  /** Another name of the same file is stronger than this one. */
  readonly weak: boolean;
}

const unitSuffixes: Readonly<Record<string, number>> = {
  _ms: 1,
  _seconds: 1_000,
  _minutes: 60_000,
  _hours: 3_600_000,
  _days: 86_400_000,
};

const layout = 'worker.event_systems.worker.';
const poller = 'event_system.fallback_poller.';

/** Below `worker.event_systems.worker`, without the unit; `~` marks what another name overrules. */
const newer: Readonly<Record<string, string | null>> = {
  system_id: 'event_system.system_id',
  deployment_mode: 'event_system.deployment_mode',
  'timing.health_check_interval': 'event_system.health_check_interval',
  'timing.fallback_polling_interval': `~${poller}polling_interval`,
  'timing.visibility_timeout': `~${poller}visibility_timeout`,
  'timing.processing_timeout': 'event_system.processing_timeout',
  // A claim here lasts as long as its worker lives, so it has no time of its own.
  'timing.claim_timeout': null,
  'processing.max_concurrent_operations': 'event_system.max_concurrent_processors',
  'processing.batch_size': `~${poller}batch_size`,
  'processing.max_retries': 'event_system.max_retries',
  'processing.backoff.initial_delay': 'event_system.backoff_initial_delay',
  'processing.backoff.max_delay': 'event_system.backoff_max_delay',
  'processing.backoff.multiplier': 'event_system.backoff_multiplier',
  'processing.backoff.jitter_percent': 'event_system.backoff_jitter',
  'health.enabled': 'event_system.health_monitoring_enabled',
  'health.max_consecutive_errors': 'event_system.max_consecutive_errors',
  'health.error_rate_threshold_per_minute': 'event_system.error_rate_threshold_per_minute',
  'health.performance_monitoring_enabled': null,
  'metadata.listener.enabled': 'event_system.listener.enabled',
  'metadata.listener.batch_processing': 'event_system.listener.batch_processing',
  'metadata.listener.connection_timeout': 'event_system.listener.connection_timeout',
  // The listener reconnects for as long as it is wanted, and by a backoff of its own.
  'metadata.listener.retry_interval': null,
  'metadata.listener.max_retry_attempts': null,
  'metadata.listener.event_timeout': null,
  'metadata.fallback_poller.enabled': `${poller}enabled`,
  'metadata.fallback_poller.polling_interval': `${poller}polling_interval`,
  'metadata.fallback_poller.batch_size': `${poller}batch_size`,
  'metadata.fallback_poller.age_threshold': `${poller}age_threshold`,
  'metadata.fallback_poller.max_age': `${poller}max_age`,
  'metadata.fallback_poller.visibility_timeout': `${poller}visibility_timeout`,
  'metadata.fallback_poller.supported_namespaces': 'event_system.supported_namespaces',
};

/** What a path means; undefined when nothing is known under it. */
export function meaningOf(path: string): Meaning | undefined {
  const plain = lookUp(path);
  if (plain !== undefined) return { ...plain, unitMs: null };
  for (const [suffix, unitMs] of Object.entries(unitSuffixes)) {
    if (!path.endsWith(suffix)) continue;
    const found = lookUp(path.slice(0, -suffix.length));
    if (found === undefined) continue;
    const timed = found.path === null || keyAt(found.path)?.kind === 'duration';
    if (timed) return { ...found, unitMs };
  }
  return undefined;
}

function lookUp(path: string): Pick<Meaning, 'path' | 'weak'> | undefined {
  if (keyAt(path) !== undefined) return { path, weak: false };
  if (!path.startsWith(layout)) return undefined;
  const name = path.slice(layout.length);
  if (!Object.hasOwn(newer, name)) return undefined;
  const target = newer[name] as string | null;
  if (target === null) return { path: null, weak: false };
  return target.startsWith('~')
    ? { path: target.slice(1), weak: true }
    : { path: target, weak: false };
}

/** Everything that a name could have been meant to be. */
export const knownPaths: readonly string[] = [
  ...keyPaths,
  ...Object.keys(newer).map((name) => layout + name),
];

/** For docs/configuration.md: the newer name and the key that it means. */
export const newerLayout: readonly (readonly [name: string, path: string | null])[] =
  Object.entries(newer).map(([name, path]) => [layout + name, path?.replace('~', '') ?? null]);
