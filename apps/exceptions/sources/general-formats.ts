/**
 * Formats that many programs share: `key=value` text, a level in front, and any line that begins
 * with a time. They are tried after those of particular systems.
 */
import { format, type LogFormat, level, levelWords, text } from './log-line.ts';

/** Values of `key=value` text, with or without quotes. */
const pair = /([\w.@-]+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))/g;
const isLogfmt = /(?:^|\s)(?:level|lvl|severity)=/;

export const logfmt: LogFormat = {
  name: 'logfmt',
  parse(line) {
    if (!isLogfmt.test(line) || !/^[\w.@-]+=/.test(line)) return undefined;
    const values = new Map<string, string>();
    for (const [, name, quoted, bare] of line.matchAll(pair)) {
      values.set(text(name), quoted?.replaceAll('\\"', '"') ?? text(bare));
    }
    const first = (...names: string[]) => {
      for (const name of names) if (values.has(name)) return values.get(name);
      return undefined;
    };
    const message = first('msg', 'message', 'event') ?? line;
    const error = first('err', 'error');
    return {
      time: first('time', 'ts', 't', 'timestamp') ?? '',
      level: level(first('level', 'lvl', 'severity')),
      component: first('component', 'logger', 'caller', 'module'),
      service: first('service', 'app'),
      host: first('host', 'hostname'),
      message: error ? `${message}: ${error}` : message,
    };
  },
};

export const levelFirst = format(
  'level-first',
  new RegExp(
    `^\\[?(${levelWords}|trce|dbug|info|warn|fail|crit)(?:\\]\\s|:(?=\\S+:)|:?\\s+(?=\\S)` +
      `|\\s+-\\s)\\s*` +
      '(?:\\[([\\w.]+)\\] )?(.+)$',
  ),
  (m) => ({ time: '', level: level(m[1]), component: m[2], message: text(m[3]) }),
);

const anyTime =
  '\\d{4}[-/.]\\d\\d[-/.]\\d\\d(?:[T _]|, )\\d\\d:\\d\\d:\\d\\d(?:[.,:]\\d{1,9})?(?: ?(?:Z|UTC' +
  '|GMT|[+-]\\d\\d:?\\d\\d)(?![\\w:]))?' +
  '|\\d\\d/\\d\\d/\\d\\d \\d\\d:\\d\\d:\\d\\d(?:[.,]\\d+)?' +
  '|\\d{1,2}/\\d{1,2}/\\d{4},? \\d{1,2}:\\d\\d:\\d\\d(?:\\.\\d+)?(?: [AP]M)?' +
  '|\\d{1,2}[ /-][A-Z][a-z]{2}[ /-]\\d{4}[ :]\\d\\d:\\d\\d:\\d\\d(?:[.,]\\d+)?(?: [+-]\\d{4})?' +
  '|(?:[A-Z][a-z]{2} )?[A-Z][a-z]{2} [ \\d]\\d \\d\\d:\\d\\d:\\d\\d(?:\\.\\d+)?(?: \\d{4})?' +
  '|\\d{8}[ T-]\\d\\d:\\d\\d:\\d\\d(?:[.,:]\\d+)?' +
  '|\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d(?:[.,]\\d+)?' +
  '|\\d\\d:\\d\\d:\\d\\d[.,]\\d{3,6}' +
  '|1\\d{9}(?:\\.\\d+|\\d{3})?(?=[ \\]|])';
/** Up to six words or brackets, then a level: `[main] INFO`, `0 [Warning]`, `- name - ERROR`. */
const levelAhead = new RegExp(
  `^((?:[\\[(<][^\\])>]{0,80}[\\])>][ :-]*|(?!(?:${levelWords})\\b)[\\w.$:/@#*-]{1,80} +|[-|:]` +
    ` *){0,6}?)` +
    `(?:[\\[(<|](${levelWords}|trace|debug|info|information|notice|note|warn|warning|err|error` +
    `|crit|critical|alert|emerg|fatal|system|` +
    `Trace|Debug|Info|Information|Note|Notice|Warn|Warning|Error|Critical|Fatal|System|ERR|INF` +
    `|WRN|DBG|FTL|I|W|E|D|F)[ ]*(?:/[\\w-]+)?[\\])>|]|` +
    `(${levelWords}|LOG|Info|Warning|Error)\\b(?!\\.))[ :|-]*(.*)$`,
);
const brackets = /^(?:\[[^\]]*\]|\([^)]*\)|<[^>]*>|\d+|-+|:|\|)[ :|-]*/;
const componentAhead = /^([A-Za-z_][\w.$/-]{1,99})(?:\[\w*\])? *(?::| - ) *(?=\S)/;

const datedHead = new RegExp(
  `^(?:\\S+:)?\\[?(${anyTime})(?:: (?=[A-Z]+/))?[\\]:,|]?[ \\t|-]*(.*)$`,
);

/** Any line that begins with a time: log4j, logback, Spring, Python, Go, MySQL, RabbitMQ, … */
export const dated: LogFormat = {
  name: 'dated',
  parse(line) {
    const match = datedHead.exec(line);
    if (match === null) return undefined;
    const time = text(match[1]);
    const rest = text(match[2]);
    const headed = levelAhead.exec(rest);
    if (headed === null) {
      const celery = /^([A-Z]+)\/[\w-]+\] (.*)$/.exec(rest);
      if (celery !== null && level(celery[1]) !== undefined) {
        return { time, level: level(celery[1]), message: text(celery[2]) };
      }
      return { time, level: undefined, message: rest };
    }
    let message = text(headed[4]);
    for (let count = 0; count < 4; count += 1) {
      const bracket = brackets.exec(message);
      if (bracket === null || bracket[0].length === message.length) break;
      message = message.slice(bracket[0].length);
    }
    const named = componentAhead.exec(message);
    const before = /([A-Za-z_][\w$-]*(?:\.[\w$-]+)+|[A-Za-z_][\w$-]+)\W*$/.exec(text(headed[1]));
    // `INFO name: text` names the component; `INFO Error: text` does not.
    const component =
      named !== null && !/error|exception|warning|fail/i.test(text(named[1]).replace(/^.*\./, ''));
    return {
      time: /^\d\d:\d\d:\d\d/.test(time) ? '' : time,
      level: level(headed[2] ?? headed[3]),
      component: component ? text(named[1]) : before?.[1],
      message: component ? message.slice(named[0].length) : message,
    };
  },
};
