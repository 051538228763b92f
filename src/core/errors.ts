/**
 * The one error class, and the closed list of codes it may carry. Everybody throws it; callers
 * branch on `code`, people read `message` (what was wrong) and `fix` (what to do next).
 *
 * Invariant: docs/ERRORS.md says the same as `errorCodes`, word for word; errors.test.ts compares.
 */

interface ErrorKind {
  /** True when the same call may succeed later with nothing changed by the caller. */
  readonly retryable: boolean;
  /** The fix shown unless the place that throws knows a better one. */
  readonly fix: string;
  readonly meaning: string;
}

/** Every code there is. Adding one means adding its section to docs/ERRORS.md. */
export const errorCodes = {
  EVENT_INVALID: {
    retryable: false,
    meaning: 'An event, or a field of it, breaks the rules of its definition.',
    fix: 'Correct the field that the message names and publish again.',
  },
  EVENT_TOO_LARGE: {
    retryable: false,
    meaning: 'The payload or the metadata of an event is larger than the limit.',
    fix: 'Store the large part elsewhere and put a reference to it into the payload.',
  },
  EVENT_UNKNOWN: {
    retryable: false,
    meaning: 'No definition is known for this event type.',
    fix: 'Correct the spelling, or add its defineEvent(...) to the events of this process.',
  },
  EVENT_VERSION_UNSUPPORTED: {
    retryable: false,
    meaning: 'The event was written by a newer release: its version is above the one defined here.',
    fix: 'Deploy the newer definition here, then retry the event; or set allowFutureVersions.',
  },
  DEFINITION_INVALID: {
    retryable: false,
    meaning: 'A definition in code (event, subscription, job) contradicts itself or the rules.',
    fix: 'Correct the definition that the message names; it is wrong at every start.',
  },
  PAYLOAD_NOT_JSON: {
    retryable: false,
    meaning: 'A value is not pure JSON, or would not be the same after a database round trip.',
    fix: 'Convert the value at the path to text, a finite number, boolean, null, array or object.',
  },
  CONFIG_INVALID: {
    retryable: false,
    meaning: 'An option or an environment variable has a value that is not allowed.',
    fix: 'Correct the option that the message names, or leave it out to get the default.',
  },
  STORE_UNAVAILABLE: {
    retryable: true,
    meaning: 'The database does not answer. Whether the last write was committed is not known.',
    fix: 'Check that the server runs and that the URL is right, then try again.',
  },
  BROKER_UNAVAILABLE: {
    retryable: true,
    meaning: 'The broker does not answer, or not in time. Some of what was sent may be stored.',
    fix: 'Check that the broker runs and that its URL is right; publishing goes on by itself.',
  },
  BROKER_DENIED: {
    retryable: false,
    meaning: 'The broker refuses us: credentials, certificate or rights are not what it asks for.',
    fix: 'Correct user and password, token or certificate, or give the right that is missing.',
  },
  BROKER_TOPIC_UNKNOWN: {
    retryable: false,
    meaning: 'The topic does not exist at the broker, or we may not see it.',
    fix: 'Create it: millrace broker topics --create; or correct its name.',
  },
  BROKER_TOPIC_MISMATCH: {
    retryable: false,
    meaning: 'The topic exists with another number of partitions than the log has.',
    fix: 'Give another name with broker.topic, or make the topic anew with that many partitions.',
  },
  BROKER_EVENT_REFUSED: {
    retryable: false,
    meaning: 'The broker will never store this event, usually because it is too large for it.',
    fix: "Raise the broker's limit (Kafka: max.message.bytes), then retry the dead letter.",
  },
  TENANT_MISMATCH: {
    retryable: false,
    meaning: 'A message names another tenant than its topic, its key or its place allows.',
    fix: 'Find out who wrote it: the message was refused, counted and kept as a dead letter.',
  },
  STORE_CONFLICT: {
    retryable: false,
    meaning: 'The write contradicts one that was committed before it, such as a known event id.',
    fix: 'Read what is stored; if it is what you meant to write, nothing is left to do.',
  },
  STORE_MISCONFIGURED: {
    retryable: false,
    meaning: 'The database can be reached but lacks a right, a version or a setting that we need.',
    fix: 'Change the setting that the message names on the server or in the connection URL.',
  },
  MIGRATION_FAILED: {
    retryable: false,
    meaning:
      'A step of the schema could not be applied; the database is as it was before the step.',
    fix: 'Remove the cause that the message names and start again; finished steps are skipped.',
  },
  LEASE_LOST: {
    retryable: false,
    meaning: 'Another worker owns the partition now, so the result of this one was refused.',
    fix: 'Nothing is lost: the new owner handles the events. If it recurs, look for long pauses.',
  },
  BACKPRESSURE: {
    retryable: true,
    meaning: 'A limit on waiting or arriving work is reached, so no more is taken for now.',
    fix: 'Wait as long as Retry-After says and try again; add workers if it recurs.',
  },
  SHUTTING_DOWN: {
    retryable: false,
    meaning: 'This process is stopping and takes no new work.',
    fix: 'Send the call to another process, or to this one after its next start.',
  },
  HANDLER_FAILED: {
    retryable: true,
    meaning: 'A handler threw, or used its context wrongly; the event is retried by its policy.',
    fix: 'Read the cause. When the handler is mended, retry the dead letters it left.',
  },
  HANDLER_TIMEOUT: {
    retryable: true,
    meaning: 'A handler took longer than its limit and was told to stop by its signal.',
    fix: 'Make the handler faster and have it obey ctx.signal, or raise its time limit.',
  },
  PERMANENT_FAILURE: {
    retryable: false,
    meaning: 'A handler said that trying again cannot help; the event is a dead letter at once.',
    fix: 'Correct the data or the handler, then edit and retry, skip or discard the dead letter.',
  },
  JOB_INVALID: {
    retryable: false,
    meaning: 'A job, its payload or an option of it breaks the rules of its definition.',
    fix: 'Correct the field that the message names and enqueue again.',
  },
  JOB_TOO_LARGE: {
    retryable: false,
    meaning: 'The payload or the options of a job are larger than the limit.',
    fix: 'Store the large part elsewhere and put a reference to it into the job.',
  },
  JOB_UNKNOWN: {
    retryable: false,
    meaning: 'No definition is known for this job name.',
    fix: 'Correct the spelling, or add its defineJob(...) to the work of this process.',
  },
  JOB_VERSION_UNSUPPORTED: {
    retryable: false,
    meaning: 'The job was enqueued by a newer release: its version is above the one defined here.',
    fix: 'Deploy the newer definition here, then retry the job.',
  },
  JOB_DUPLICATE: {
    retryable: false,
    meaning: 'A job with this unique key is unfinished, so the new one was refused.',
    fix: 'Wait for the job that the message names, or use another unique mode or key.',
  },
  JOB_FAILED: {
    retryable: false,
    meaning: 'The job that was waited for failed for good: it is dead or quarantined.',
    fix: 'Read its error. When the cause is mended, retry the job.',
  },
  JOB_CANCELLED: {
    retryable: false,
    meaning: 'The job was cancelled, by hand, by its handler or with one that it depends on.',
    fix: 'Nothing is wrong if that was meant; a cancelled job can be retried.',
  },
  JOB_TIMEOUT: {
    retryable: true,
    meaning: 'The job had not finished when the time to wait for its result was over.',
    fix: 'Wait longer, or look where the job stands and whether a worker handles its queue.',
  },
  JOB_OUTCOME: {
    retryable: false,
    meaning: 'A handler ended its job by cancelJob() or snooze(); the worker takes it from there.',
    fix: 'Throw it in a handler of jobs only; anywhere else it is an error like any other.',
  },
  JOB_STATE: {
    retryable: false,
    meaning: 'The job is in a state that does not allow this verb.',
    fix: 'Read its present state: only finished jobs are retried, only waiting ones run now.',
  },
  RESULT_INVALID: {
    retryable: false,
    meaning: 'What a handler returned is not pure JSON, too large, or breaks its result schema.',
    fix: 'Have the handler return plain data that fits the schema, or nothing; then retry the job.',
  },
  WORKFLOW_INVALID: {
    retryable: false,
    meaning: 'A workflow, a step or an option of it contradicts itself or the rules.',
    fix: 'Correct the definition at the place that the message names; it is wrong at every start.',
  },
  WORKFLOW_UNKNOWN: {
    retryable: false,
    meaning: 'No workflow of this name and version is known here.',
    fix: 'Correct the spelling, or add its definition to the workflows of this process.',
  },
  WORKFLOW_INPUT_INVALID: {
    retryable: false,
    meaning: 'The input of a run breaks the schema of its workflow, or is not pure JSON.',
    fix: 'Correct the field that the message names and start again.',
  },
  WORKFLOW_DUPLICATE: {
    retryable: false,
    meaning: 'A run with this identity is there already, so no other was started.',
    fix: 'Use the run that there is, or give an idempotency key of its own.',
  },
  WORKFLOW_FAILED: {
    retryable: false,
    meaning: 'The run that was waited for failed, or is blocked by steps that failed for good.',
    fix: 'Ask `millrace workflow why`; when the cause is mended, retry the run.',
  },
  WORKFLOW_CANCELLED: {
    retryable: false,
    meaning: 'The run was cancelled, by hand or with the run that started it.',
    fix: 'Nothing is wrong if that was meant; a cancelled run can be reset.',
  },
  WORKFLOW_TIMEOUT: {
    retryable: true,
    meaning: 'A run, or a wait in it, had not come to its end when its time was over.',
    fix: 'Wait longer, or ask `millrace workflow why` what the run waits for.',
  },
  WORKFLOW_STATE: {
    retryable: false,
    meaning: 'The run or the step is in a state that does not allow this verb.',
    fix: 'Read its present state; the message names those that allow the verb.',
  },
  WORKFLOW_NONDETERMINISTIC: {
    retryable: false,
    meaning: 'A durable function asks for other steps than those its history has.',
    fix: 'Deploy the version that the run began with, or put the change behind ctx.patch(id).',
  },
  TEMPLATE_INVALID: {
    retryable: false,
    meaning: 'A task template breaks its schema or contradicts itself.',
    fix: 'Correct the template at the line that the message names.',
  },
  STEP_FAILED: {
    retryable: false,
    meaning: 'A step failed for good: its tries are used up, or it said that none can help.',
    fix: 'Read its error. When the cause is mended, retry the run or resolve the step by hand.',
  },
  SCHEDULE_INVALID: {
    retryable: false,
    meaning: 'A schedule contradicts itself, or its time expression or time zone is wrong.',
    fix: 'Correct the field that the message names; a cron line looks like 0 2 * * *.',
  },
  SANDBOX_FAILED: {
    retryable: true,
    meaning: 'The thread of a sandboxed job ended or answered with what cannot be handed over.',
    fix: 'Read the message: it names the memory limit, the exit or the value; mend the module.',
  },
  WORKER_UNAVAILABLE: {
    retryable: true,
    meaning: 'None of the workers that could take the request is healthy.',
    fix: 'Look at the health checks that failed; the next one that succeeds brings a worker back.',
  },
  SCALING_FAILED: {
    retryable: true,
    meaning: 'Workers could not be counted, started or ended as their number was to change.',
    fix: 'Read the cause: a command that does not start, or a cluster that refuses or is away.',
  },
  CAPABILITY_MISSING: {
    retryable: false,
    meaning: 'The store that is connected cannot do this.',
    fix: 'Connect a store that can, or leave out the option that the message names.',
  },
  EMBEDDED_UNAVAILABLE: {
    retryable: false,
    meaning: 'The embedded Postgres is not installed, or cannot run on this platform.',
    fix: 'Install with optional dependencies, or pass the URL of a Postgres server of your own.',
  },
  EMBEDDED_DIRECTORY: {
    retryable: false,
    meaning: 'The data directory of the embedded Postgres cannot be used as it is.',
    fix: 'Choose an empty directory, or one that the embedded Postgres of this release made.',
  },
  EMBEDDED_BUSY: {
    retryable: true,
    meaning: 'Another process uses this data directory.',
    fix: 'Stop the process that the message names, or choose another directory.',
  },
  EMBEDDED_START_FAILED: {
    retryable: false,
    meaning: 'The embedded Postgres was started and ended before it was ready.',
    fix: 'Read the last lines of its log in the message and remove what they complain about.',
  },
  PACK_INVALID: {
    retryable: false,
    meaning:
      'A domain pack or a tenant policy pack breaks its schema or refers to what is missing.',
    fix: 'Correct the file at the line that the message names.',
  },
  SOURCE_INVALID: {
    retryable: false,
    meaning: 'An input file or stream cannot be read as the source kind it was said to be.',
    fix: 'Name the right source kind, or leave it out to have it detected.',
  },
  EXPRESSION_INVALID: {
    retryable: false,
    meaning: 'A condition does not compile: its syntax or a type in it is wrong.',
    fix: 'Correct the condition at the place that the message names.',
  },
  TOOL_FAILED: {
    retryable: true,
    meaning: 'A tool was called and answered with an error, too late, or not at all.',
    fix: 'Check the address and the state of the tool; the call is repeated by its retry policy.',
  },
  TOOL_BLOCKED: {
    retryable: false,
    meaning: 'A tool may not be called: its address, its payload or the tenant is not allowed.',
    fix: 'Allow the tool, its domain or the tenant in the pack, if the call is wanted.',
  },
  NOT_FOUND: {
    retryable: false,
    meaning: 'The thing asked for does not exist, or belongs to another tenant.',
    fix: 'Check the id and the tenant.',
  },
  GROUP_STATE: {
    retryable: false,
    meaning: 'The group is in a state in which it cannot be removed.',
    fix: 'Stop its workers, and deal with its dead letters or discard them, then remove it.',
  },
  DEAD_LETTER_STATE: {
    retryable: false,
    meaning: 'The dead letter is in a state that does not allow this verb.',
    fix: 'Read its present state; only a pending dead letter can be changed.',
  },
  REQUEST_INVALID: {
    retryable: false,
    meaning: 'A request or a query has a parameter that is missing or not allowed.',
    fix: 'Correct the parameter that the message names.',
  },
  USAGE: {
    retryable: false,
    meaning: 'A command was called with wrong arguments.',
    fix: 'Run the command with --help to see what it takes.',
  },
} as const satisfies Readonly<Record<string, ErrorKind>>;

export type ErrorCode = keyof typeof errorCodes;

export interface MillraceErrorOptions {
  /** What to do next, when the place that throws knows better than the code's default. */
  readonly fix?: string | undefined;
  readonly retryable?: boolean | undefined;
  readonly cause?: unknown;
  /** Facts for programs: paths, limits, ids. Shown in logs and API answers, so no secrets. */
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * An expected failure with a code.
 * @example catch (error) { if (error instanceof MillraceError && error.retryable) await again(); }
 */
export class MillraceError extends Error {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly fix: string;
  declare readonly details?: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: MillraceErrorOptions = {}) {
    // Passing `cause: undefined` on would make an own property that prints as a cause.
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? errorCodes[code].retryable;
    this.fix = options.fix ?? errorCodes[code].fix;
    if (options.details !== undefined) this.details = options.details;
  }

  static {
    // On the prototype: stacks begin with it, and it is not printed again as a member.
    Object.defineProperty(MillraceError.prototype, 'name', {
      value: 'MillraceError',
      configurable: true,
      writable: true,
    });
  }
}

/** `instanceof` for whatever was thrown: a proxy may throw again when it is asked for its class. */
export function isMillraceError(thrown: unknown): thrown is MillraceError {
  try {
    return thrown instanceof MillraceError;
  } catch {
    return false;
  }
}

/**
 * For handlers: `throw permanentFailure('the account was closed')` sends the event to the dead
 * letters at once, without the retries of its policy (P9-15).
 */
export function permanentFailure(reason: string, options?: MillraceErrorOptions): MillraceError {
  return new MillraceError('PERMANENT_FAILURE', reason, options);
}
