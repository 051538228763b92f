/**
 * Log lines that are JSON objects: pino, bunyan, winston, zap, logrus, Serilog, Elastic, Google
 * Cloud, Docker, the systemd journal. An object is a log line when it has a level and a message
 * under names that these use; anything else may be an exception record.
 */
import { parseJson } from 'millrace';
import { type LogLevel, levelOf, levelOfNumber, levelOfPriority } from './fault-types.ts';
import { parseLogLine } from './log-formats.ts';
import type { LogLine } from './log-line.ts';

export interface JsonLog {
  readonly log: LogLine;
  readonly trace: readonly string[];
}

type Members = Readonly<Record<string, unknown>>;

const messageNames = [
  'message',
  'msg',
  '@m',
  '@mt',
  'MESSAGE',
  'log',
  'textPayload',
  'event',
  'body',
];
const timeNames = ['time', 'timestamp', '@timestamp', 'ts', '@t', 'datetime', 'date', 'eventTime'];
const componentNames = [
  'logger',
  'logger_name',
  'component',
  'module',
  'caller',
  'name',
  'SourceContext',
];
const serviceNames = [
  'service',
  'app',
  'application',
  'SYSLOG_IDENTIFIER',
  '_SYSTEMD_UNIT',
  'program',
];
const hostNames = ['host', 'hostname', '_HOSTNAME', 'node', 'pod', 'MachineName'];
const errorNames = [
  'err',
  'error',
  'exception',
  '@x',
  'stack',
  'stack_trace',
  'stacktrace',
  'exc_info',
];

/** The log line in a JSON text, or undefined when it is none. */
export function readJsonLog(text: string): JsonLog | undefined {
  let value: unknown;
  try {
    // Escapes may hide NUL and half surrogates, which no event can hold. Otherwise the built-in
    // parser will do: only texts are kept, so times in nanoseconds may lose digits.
    value = text.includes('\\u') ? parseJson(text) : JSON.parse(text);
  } catch {
    return undefined;
  }
  return isMembers(value) ? jsonLogOf(value) : undefined;
}

export function isMembers(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function jsonLogOf(members: Members): JsonLog | undefined {
  const message = textOf(members, messageNames);
  if (message === undefined) return undefined;
  if (typeof members.log === 'string' && typeof members.stream === 'string') {
    return ofContainer(members, message);
  }
  const level = levelIn(members);
  const time = timeOf(members);
  if (level === undefined || time === undefined) return undefined;
  const { summary, trace } = errorOf(members);
  return {
    log: {
      time,
      level,
      message:
        summary === undefined || message.includes(summary) ? message : `${message}: ${summary}`,
      host: nameOf(members, hostNames),
      service: nameOf(members, serviceNames),
      component: nameOf(members, componentNames),
    },
    trace,
  };
}

/** Docker's json-file driver: the program's own line is inside. */
function ofContainer(members: Members, message: string): JsonLog {
  const inner = parseLogLine(message.trimEnd(), undefined)?.line;
  const time = timeOf(members) ?? '';
  return { log: { level: undefined, message: message.trimEnd(), ...inner, time }, trace: [] };
}

function levelIn(members: Members): LogLevel | undefined {
  const priority = members.PRIORITY;
  if (priority !== undefined) return levelOfPriority(Number(priority));
  const nested = isMembers(members.log) ? members.log.level : undefined;
  for (const value of [
    members.level,
    members['log.level'],
    nested,
    members.levelname,
    members['@l'],
    members.severity,
    members.s,
    members.loglevel,
  ]) {
    if (typeof value === 'number') return levelOfNumber(value);
    if (typeof value === 'string' && value !== '') return levelOf(value);
  }
  // Serilog leaves the level out when it is information.
  return members['@t'] !== undefined ? levelOf('INFO') : undefined;
}

function timeOf(members: Members): string | undefined {
  const journal = members.__REALTIME_TIMESTAMP;
  if (typeof journal === 'string' && /^\d{16}$/.test(journal)) return journal.slice(0, 13);
  for (const name of timeNames) {
    const value = members[name];
    if (typeof value === 'string' && value !== '') return value;
    if (typeof value === 'number' && value > 1e8) return String(value);
  }
  return undefined;
}

/** The error beside the message, as text or as an object with message and stack. */
function errorOf(members: Members): { summary: string | undefined; trace: readonly string[] } {
  let summary: string | undefined;
  let stack: string | undefined;
  for (const name of errorNames) {
    const value = members[name];
    if (typeof value === 'string' && value !== '') {
      if (value.includes('\n')) stack ??= value;
      else summary ??= value;
    } else if (isMembers(value)) {
      const own = value.message ?? value.msg;
      if (typeof own === 'string') summary ??= own;
      if (typeof value.stack === 'string') stack ??= value.stack;
    }
  }
  return { summary, trace: stack?.split('\n').filter((line) => line.trim() !== '') ?? [] };
}

function textOf(members: Members, names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = members[name];
    if (typeof value === 'string' && value !== '') return value;
  }
  return undefined;
}

/** Elastic nests names: `host: { name }`. */
function nameOf(members: Members, names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = members[name];
    if (typeof value === 'string' && value !== '') return value;
    if (isMembers(value) && typeof value.name === 'string') return value.name;
  }
  return undefined;
}
