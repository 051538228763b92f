/**
 * The exception types that log lines are given, and the levels of logs. The domain pack
 * `packs/domains/operations.yaml` knows each of these types; a test compares. Which lines get which
 * type is in fault-rules.ts.
 */
import type { Severity } from '../vocabulary.ts';

/** The domain of faults found in logs. */
export const faultDomain = 'operations';

export const faultTypes = [
  'AUTHENTICATION_FAILURE',
  'INTRUSION_ATTEMPT',
  'PERMISSION_DENIED',
  'OUT_OF_MEMORY',
  'DISK_FAILURE',
  'STORAGE_FULL',
  'HARDWARE_FAULT',
  'KERNEL_FAULT',
  'PROCESS_CRASH',
  'SERVICE_UNAVAILABLE',
  'CONNECTION_FAILURE',
  'TIMEOUT',
  'DATA_TRANSFER_FAILURE',
  'DATA_CORRUPTION',
  'CLUSTER_DEGRADED',
  'JOB_FAILED',
  'CONFIGURATION_ERROR',
  'CERTIFICATE_PROBLEM',
  'HTTP_ERROR',
  'RESOURCE_WARNING',
  'APPLICATION_ERROR',
] as const;
export type FaultType = (typeof faultTypes)[number];

export interface Fault {
  readonly type: FaultType;
  readonly severity: Severity;
}

/** One name and one rank for each of the many spellings. */
export interface LogLevel {
  readonly name: string;
  /** 0 for developers, 1 ordinary, 2 warning, 3 error, 4 worse, 5 the system cannot be used. */
  readonly rank: 0 | 1 | 2 | 3 | 4 | 5;
}

function level(name: string, rank: LogLevel['rank'], ...spellings: string[]): [string, LogLevel][] {
  const value = { name, rank };
  return [name, ...spellings].map((spelling) => [spelling, value]);
}

const levels = new Map<string, LogLevel>([
  ...level('TRACE', 0, 'VERBOSE', 'V', 'FINEST', 'FINER', 'TRCE', 'VRB', 'SILLY', '.'),
  ...level('DEBUG', 0, 'D', 'FINE', 'DBUG', 'DBG', '-'),
  ...level('DEBUG', 0, 'DEBUG1', 'DEBUG2', 'DEBUG3', 'DEBUG4', 'DEBUG5'),
  ...level('INFO', 1, 'I', 'INFORMATION', 'INF', 'LOG', 'CONFIG', 'HTTP', 'INFORMATIONAL', '*'),
  ...level('NOTICE', 1, 'NOTE', 'SYSTEM', 'AUDIT', 'SUCCESS', 'DEFAULT'),
  ...level('WARN', 2, 'WARNING', 'W', 'WRN', '#'),
  ...level('ERROR', 3, 'ERR', 'E', 'SEVERE', 'FAIL', 'EROR', 'FAILURE'),
  ...level('CRITICAL', 4, 'CRIT', 'C', 'CRT'),
  ...level('FATAL', 4, 'F', 'A', 'ASSERT', 'FTL'),
  ...level('ALERT', 4),
  ...level('EMERG', 5, 'EMERGENCY'),
  ...level('PANIC', 5),
]);

/** The level that a word or letter names, in any case; undefined when it names none. */
export function levelOf(text: string): LogLevel | undefined {
  return levels.get(text) ?? levels.get(text.toUpperCase());
}

const syslogLevels = ['EMERG', 'ALERT', 'CRIT', 'ERR', 'WARNING', 'NOTICE', 'INFO', 'DEBUG'];

/** The level in a syslog priority: its lowest three bits (RFC 5424 §6.2.1). */
export function levelOfPriority(priority: number): LogLevel | undefined {
  return priority >= 0 && priority <= 191
    ? levels.get(syslogLevels[priority & 7] as string)
    : undefined;
}

/** Pino and bunyan: 10 trace, 20 debug, 30 info, 40 warn, 50 error, 60 fatal. */
export function levelOfNumber(value: number): LogLevel | undefined {
  if (value < 10 || value > 69) return undefined;
  return levels.get(
    ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'][Math.floor(value / 10) - 1] as string,
  );
}
