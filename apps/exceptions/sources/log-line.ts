/**
 * What is found in the head of a log line, and what a format is: a name and a parser. Used by the
 * formats of log-formats.ts and general-formats.ts.
 */
import { type LogLevel, levelOf, levelOfPriority } from './fault-types.ts';

export interface LogLine {
  /** As written; toIsoTime reads it. Empty when the line has none. */
  readonly time: string;
  readonly level: LogLevel | undefined;
  readonly message: string;
  readonly host?: string | undefined;
  /** The program, as syslog names it. */
  readonly service?: string | undefined;
  /** The class, module or facility within the program. */
  readonly component?: string | undefined;
  readonly processId?: string | undefined;
  readonly statusCode?: number | undefined;
  /** The line goes on with the record before it: a DETAIL, a STATEMENT. */
  readonly continues?: boolean | undefined;
  /** The source itself marked the line as an alert. */
  readonly alert?: boolean | undefined;
}

export interface LogFormat {
  readonly name: string;
  parse(line: string): LogLine | undefined;
}

export type Groups = RegExpExecArray;

/** A format of one regular expression. */
export function format(name: string, pattern: RegExp, read: (m: Groups) => LogLine): LogFormat {
  return {
    name,
    parse(line) {
      const match = pattern.exec(line);
      return match === null ? undefined : read(match);
    },
  };
}

export const text = (value: string | undefined): string => value ?? '';
export const level = (value: string | undefined): LogLevel | undefined =>
  value === undefined ? undefined : levelOf(value);
export const priority = (value: string | undefined): LogLevel | undefined =>
  value === undefined ? undefined : levelOfPriority(Number(value));

/** As they stand in capitals in the heads of lines. */
export const levelWords =
  'TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|SEVERE|CRITICAL|CRIT|FATAL|ALERT|EMERG|PANIC';
export const isoTime =
  '\\d{4}-\\d\\d-\\d\\d[T ]\\d\\d:\\d\\d:\\d\\d(?:[.,]\\d{1,9})?(?:Z|[+-]\\d\\d:?\\d\\d)?';
