/**
 * Does a log line report a fault, which one, and how bad is it? The level alone does not decide:
 * a warning may be noise, and systems report failures at INFO or have no levels. So the message is
 * read first: noise and healthy contexts are set aside, then the rules of fault-rules.ts are tried,
 * then general words of failure, as far as the level leaves room for doubt.
 *
 * Cost: 0.15 µs for a line without any stem of trouble (see `suspect`), 0.7 µs for a repeated
 * message (see `known`), some 10 µs for a new one.
 */
import { type Severity, severities, severityRank } from '../vocabulary.ts';
import { faultRules } from './fault-rules.ts';
import type { Fault, LogLevel } from './fault-types.ts';
import type { LogLine } from './log-line.ts';
import { createStemScanner } from './stem-scanner.ts';

/**
 * Every rule and every general word of failure has one of these in what it matches; a line without
 * any is ordinary below ERROR.
 */
const suspect = createStemScanner(
  [
    'fail|error|errno|err:|err=| err |err]|excep| fault|segfault|faults|faulty|_fault',
    'fatal|panic|abort|crash|deny|denied|denial',
    "refus|reject|invalid|illegal|unable|cannot|can't|couldn't|couldnot|timeout",
    'timed out|time out|time-out|timed-out|timing out',
    'lost|loss|losing|lose |broken|unreach|unavail|killed|kill |killer|oomkill|dead',
    'died|dies|down|reset|unexpect|unknown|violat',
    'forbid|unauth|attack|break-in|expir|stuck|hung|stall|missing|dropp|throttl|degrad',
    'segment|sigseg|sigabrt|sigkill|sigbus',
    'sigill|sigfpe|signal|traceb|oops|goodbye|end of|brute|flood|retri|retry',
    'contains no|too many|malform|unhealth|back-off',
    'backoff|temperat|interrupt|uncorrect|corrected|correctable|ce sym|parity',
    'storage int|negotiate|deadline|orphan|duplicate',
    'quota|hresult|x509|pkix|unrec|carrier|anr in|in the database|corrupt|inconsist',
    'out of|outof|overflow|overload|overheat',
    'over heat|overtemp|over temp|over limit|over its|exceed|locked|lockup|lock up',
    'hung_task|blocked for|core dump|generating core',
    'no space| space|disk is full|disk full|is full|queue full|nearly full|system full',
    'pool full|insufficient|memory alloc',
    'memory exhaust|memory limit|low memory|memory quota|bad_alloc|heap space|oom-kill',
    'oom_kill|enospc|econn|ehost|enotfound|epipe',
    'emfile|enomem|eacces|eperm| eio|enoent|eaddr|enet|e_fail|e_access|cbs_e|mismatch',
    'could not|did not|does not|do not|is not',
    'was not|are not|can not|been not|not respon|not running|not found|not connected',
    'not ready|not avail|not auth|not permit',
    'not allow|not exist|not enough|not valid|not a valid|not reach|not syncing',
    'notready|no such|no route|no quorum|no leader',
    'no master|no live|no more|no matching|no required|no available|no response',
    'split-brain|split brain|quorum|safe mode|safemode',
    'bug:|bug at|call trace|scheduling while|bad |badly|machine check|hardware| mce',
    'sense key|scsi|bad sector|read-only|alignment',
    'generatin|voltage|thermal|power |fan |fans |psu| xid|fallen off|on fire|premature',
    'disconnect|gone away|incorrect|wrong',
    'privilege|must be|sudoers|kinit|credential|replay cache|did not receive|scanned',
    'port scan|portscan|intrusion|exploit|injection',
    'traversal|status: 5|status:5|status=5|status 5|status code 5|status code: 5|code 5',
    'code: 5|" 50| 500 | 502 | 503 | 504 |bad gateway',
    'lagging|skipped|slow |slow:|high cpu|high mem|high load|too high|running low',
    'low on|low disk|gc pause|long gc|clock |rate limit',
    'limit reached|limit was|limit has|max_conn|throttled|usage|keep up|checkpoints are',
    'under-replic|underreplic|only be repl|fencing',
    'heartbeat|evict|misconfig|syntax|unsupported|undefined|parse err|window is null',
    'undo|warning:|severe|critical|emergency',
    'unsuccess|tombstone|force finish|force-finish|abnormal|assertion|deadlock',
    'stack smash|double free|handshake|certificate',
    'ssl|tls|trust anchor|link |links |dns|not in|not be |not open|took too long|fsck',
    'mount|raid|smart|stale|out-of|problem',
  ].flatMap((line) => line.split('|')),
);

/** Ordinary at any level below ERROR, however it sounds. */
const noise = new RegExp(
  [
    // Threads that are told to end: ZooKeeper, Hadoop, Java pools.
    'interrupt(?:ed|ing) (?:while waiting|\\w*worker|\\w*thread|idle)',
    'worker leaving thread|thread interrupted$',
    // Clients that leave, before or after login.
    '^Received disconnect from .*: (?:\\d+: )?(?:bye|disconnected by user|closed due|normal' +
      ' shut|user (?:disc|req)|end\\b|\\[preauth)',
    '^Connection (?:closed|reset) by (?:\\S+ )*?(?:[\\da-f.:]+)|^Disconnected from',
    '^Closed socket connection|^connection from\\b',
    'dropped if|so dropping the connection|smaller server identifier',
    '(?:terminated|exited|stopped|completed|shut ?down) (?:normally|cleanly|gracefully' +
      '|successfully)',
    'exit(?:ed)? (?:with )?(?:code|status)?[ :=]*0\\b',
    '(?:start-?up|shut-?down) succeeded',
    // Nothing is wrong here: a repair that worked.
    're-?created its',
    '(?:has|have|was|were|been) (?:recovered|resolved|repaired|cleared|restored)',
    'back to normal|self-healed',
    'no longer (?:failing|in error|degraded|unreachable)',
    'recover(?:ed|y) (?:from|complete|finished|succe)',
    'successfully (?:recovered|reconnected|retried|repaired)',
    // Values in a row of dots, as of registers and counters.
    '\\.{4,} ?(?:0x)?[\\da-f]+$|\\.\\.\\. ?(?:done|ok|passed|succeeded)\\.?$',
    '^[\\w .()/-]*(?:time-?out|time out|syndrome register|(?:error|fault|exception) (?:address' +
      '|register|vector|syndrome)\\w*|retries|max\\w*|limit)(?: set to|:| is| =|=) *-?' +
      '(?:0x)?[\\da-f]+ ?(?:m?s|seconds)?\\.?$',
  ].join('|'),
  'i',
);

/** Words of trouble in a healthy context; they are blanked out before the rules look. */
const healthy = new RegExp(
  [
    // no errors, 0 failures, without any exception
    '\\b(?:0|no|zero|without(?: any)?|not an?|never) (?:\\w+ )?(?:errors?|failures?|failed' +
      '|faults?|exceptions?|problems?|time-?outs?|corruption|data loss|conflicts?)\\b(?! log)',
    // errors: 0, failed=0, "error": null, lost=0
    '["\']?\\b(?:[\\w.]*(?:errors?|failures?|faults?|exceptions?|time-?outs?)|fail(?:ed)?|err' +
      '|dropped|rejected|lost|killed|dead|corrupt\\w*|missing|refused|errno|error[_ ]?code' +
      '|unhealthy)["\']?\\s*[:=(]\\s*["\']?(?:0(?![.x]?\\d)|none|null|nil|false|no|""|\\[\\])' +
      '(?![\\w])',
    '\\b(?:none|0) (?:failed|lost|dropped|rejected|killed|missing|dead|corrupt\\w*)\\b',
    // a property and its value: session.timeout.ms = 30000, maxFailures: 3
    '\\b[\\w]+(?:[._-]\\w+)+ *(?:=|:| is| set to| to) *["\']?(?:-?\\d+ ?(?:m?s|seconds|%)?' +
      '|true|false)\\b',
    '\\b\\w*(?:[a-z](?:Timeout|Failures?|Retries|Errors)\\w*) *(?:=|:| is| set to) *-?\\d+',
    '\\b(?:negotiated |with |default |session |a )*time-?out(?: of| is| set to|:|=)? *-?\\d+ ?' +
      '(?:m?s|seconds|sec)?\\b(?! ?(?:exceeded|expired|reached|elapsed))',
    // names: fault tolerance, error handler, dead letter queue, /var/log/error.log, ErrorReporter
    'fault[- ]toleran\\w*|fail[- ]?(?:safe|over|fast|back)(?! (?:fail|error))',
    'error[- ](?:log\\w*|handl\\w+|pages?|report\\w*|correct\\w+|rate|count|code 0\\b)',
    'dead[- ]letter\\w*',
    '\\b(?:exception|error|fault|failure|crash)(?:handler|listener|report\\w*|log\\w*|mapper' +
      '|page|monitor|detector|service|translator)\\w*',
    '\\b\\w*[a-z](?:Error|Exception|Failure|Fault|Crash)(?:Handler|Listener|Report\\w*|Log\\w*' +
      '|Mapper|Page|Monitor|Detector|Service|Translator|Resolver|Filter|Policy)\\w*',
    '\\bcommand line: .*|exception support',
    // paths and addresses are names too
    '(?:^|[\\s"\'(=])(?:[a-z]+:/)?/[\\w.%+@-]+(?:/[\\w.%+@:=-]*)*',
    '"(?:GET|POST|PUT|DELETE|HEAD|PATCH|OPTIONS) [^"]*"(?= (?:status)?:? ?[1-4])',
    // what would happen, and when
    '\\b(?:will|would|may|might) be \\w+ (?:if|when|unless|after|in)\\b[^;.]*',
    '\\b(?:if|unless|in case|in the event) [^,;.]*|\\bon[- ](?:failure|error)\\b',
    '\\bretry on \\w+',
    '\\b(?:detects?|detecting|handles?|handling|prevents?|checks?|checking|scanning|looking' +
      '|watching|monitoring) (?:for )?(?:\\w+ )?(?:errors?|failures?|faults?|exceptions?' +
      '|corruption|crash(?:es)?)\\b',
  ].join('|'),
  'gi',
);

const corrected = /\bcorrected\b|\bcorrectable\b|\bCE sym\b/i;
const outcomeGood = new RegExp(
  '\\b(?:succeed(?:ed|s)?|success(?:ful(?:ly)?)?|passed|restored|recovered|reconnected' +
    '|re-?established|initiali[sz]ed|registered|started|enabled|supported|loaded|completed)\\b',
  'i',
);
const outcomeBad = new RegExp(
  "\\bfail|\\berror|exception|\\bden(?:y|ied)|refused|\\bcannot|can't|unable|could ?n[o']t" +
    '|\\bnot (?:be|been|start)|panic|crash|\\blost\\b|corrupt|unsuccessful|attempt|invalid' +
    '|kill',
  'i',
);

/** Enough at INFO, where a mere word is often a name. */
const plainFailure = new RegExp(
  [
    '\\bfailed\\b(?! ?[:=] ?\\d)|\\bfailure\\b(?! (?:count|rate|policy|detect))',
    '\\bfails? (?:to|with|because)\\b',
    '\\b(?:got|caught|throw[ns]?|threw|unhandled|unexpected|received|encountered|with|returned' +
      '|internal|an) (?:\\w+ )?(?:exception|error)\\b',
    '\\bexception\\b.{0,20}\\b(?:thrown|occurred|caught|while|in)\\b',
    '\\b[\\w.]+(?:Exception|Error)\\b(?=:|$)',
    '^\\W*(?:error|fatal|severe|critical|warning)\\b ?[:!-]',
    '\\berrors? (?:occurred|while|during|reading|writing|opening|in|from|on|code)\\b',
    '\\berrors?: |\\berror ?=',
    "\\bunable to\\b|\\bcould ?n[o']t\\b|\\bcannot\\b|\\bcan't\\b|HRESULT = 0x[89a-f]",
    '\\bE_FAIL\\b|\\bpanic\\b|\\bcrash(?:ed)?\\b|\\babort(?:ed|ing)\\b|\\bunsuccessful',
  ].join('|'),
  'i',
);

/** Enough where there is no level, or a warning. */
const anyFailure = new RegExp(
  `${plainFailure.source}|` +
    [
      '\\bfail(?:s|ed|ing|ure|ures)?\\b|\\berrors?\\b|\\bfatal\\b|exception',
      '\\bbroken\\b|\\billegal\\b|\\binvalid\\b|\\brefused\\b|\\bdenied\\b',
      '\\bcorrupt|\\blost\\b|\\bdead\\b|\\bkilled\\b|\\bexceeded\\b|mismatch',
      '\\bunavailable\\b|\\bviolat|\\brejected\\b|\\bunexpected\\b',
    ].join('|'),
  'i',
);

const urgentWord = /^\W*(?:error|severe|fatal|critical|emergency|panic)\b/i;

function shift(severity: Severity, by: number): Severity {
  const rank = Math.min(3, Math.max(0, severityRank[severity] + by));
  return severities[rank] as Severity;
}

/** At INFO the system itself goes on; FATAL ends what was asked; PANIC and EMERG end the system. */
function atLevel(severity: Severity, level: LogLevel | undefined): Severity {
  switch (level?.rank) {
    case 1:
      return shift(severity, -1);
    case 4:
      return shift(severity, severityRank[severity] >= severityRank.HIGH ? 0 : 1);
    case 5:
      return 'CRITICAL';
    default:
      return severity;
  }
}

/**
 * The fault that a line reports, or null for an ordinary line. `trace` is the first line of a stack
 * trace that followed; it turns a line that says little into a fault.
 * @example classify({ time: '', level: undefined, message: 'Failed password for root from …' })
 */
export function classify(line: LogLine, trace?: string): Fault | null {
  const { level, statusCode } = line;
  if (statusCode !== undefined) return ofStatus(statusCode);
  const own = classifyMessage(line, line.message);
  if (own !== null || trace === undefined || level?.rank === 0) return own;
  const traced = classifyMessage({ ...line, level: undefined }, trace);
  const fault = traced ?? { type: 'APPLICATION_ERROR', severity: 'MEDIUM' };
  return { ...fault, severity: (level?.rank ?? 1) <= 2 ? 'LOW' : fault.severity };
}

/** 4xx is the client's mistake; 5xx the server's. */
function ofStatus(status: number): Fault | null {
  return status >= 500 ? { type: 'HTTP_ERROR', severity: 'MEDIUM' } : null;
}

/**
 * Logs repeat themselves: what is said of a message holds for those that differ in addresses and
 * long numbers only. A look-up takes 0.7 µs, the rules take 10 µs.
 */
const known = new Map<string, Fault | null>();
const knownMax = 20_000;
const knownCharsMax = 400;
const variable =
  /\d{1,3}(?:\.\d{1,3}){3}|[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}|\b[\da-f]{12,}\b|\d{4,}/g;

function classifyMessage(line: LogLine, message: string): Fault | null {
  const rank = line.level?.rank;
  if (rank === 0) return null;
  if ((rank === undefined || rank <= 2) && line.alert !== true && !suspect.test(message))
    return null;
  if (message.length > knownCharsMax) return examine(line, message);
  const key = `${rank}${line.alert === true ? '!' : ':'}${message.replace(variable, '#')}`;
  const before = known.get(key);
  if (before !== undefined) return before;
  const found = examine(line, message);
  if (known.size >= knownMax) known.clear();
  known.set(key, found);
  return found;
}

function examine(line: LogLine, message: string): Fault | null {
  const { level } = line;
  const rank = level?.rank;
  const doubtful = rank === undefined || rank <= 2;
  if (doubtful && noise.test(message)) return null;
  if (corrected.test(message)) return ofCorrected(line);
  const text = message.replace(healthy, ' ');
  if (doubtful && rank !== 2 && outcomeGood.test(text) && !outcomeBad.test(text)) return null;
  for (const { type, severity, pattern, fixed } of faultRules) {
    if (pattern.test(text)) return { type, severity: fixed ? severity : atLevel(severity, level) };
  }
  return ofLevel(line, text);
}

/** An error that was corrected costs nothing now, but such hardware is on its way out. */
function ofCorrected({ level, alert }: LogLine): Fault | null {
  if ((level?.rank ?? 1) < 2 && alert !== true) return null;
  return { type: 'HARDWARE_FAULT', severity: 'LOW' };
}

function ofLevel({ level, alert }: LogLine, text: string): Fault | null {
  const type = 'APPLICATION_ERROR';
  if (level === undefined) {
    if (anyFailure.test(text)) return { type, severity: urgentWord.test(text) ? 'MEDIUM' : 'LOW' };
  } else if (level.rank === 1) {
    if (plainFailure.test(text)) return { type, severity: 'LOW' };
  } else if (level.rank === 2) {
    if (anyFailure.test(text)) return { type, severity: 'LOW' };
  } else {
    const severity = level.rank === 3 ? 'MEDIUM' : level.rank === 4 ? 'HIGH' : 'CRITICAL';
    return { type, severity };
  }
  return alert === true ? { type, severity: 'MEDIUM' } : null;
}
