/**
 * Makes the context of one call of a durable function. Everything here turns what the function asks
 * for into a question to its history, and a beginning for when the history has no answer.
 */
import { createHash } from 'node:crypto';
import { describeKind } from '../../core/describe.ts';
import { MillraceError } from '../../core/errors.ts';
import type { EventDefinition } from '../../core/event.ts';
import type { JobLog } from '../../core/job-context.ts';
import { freezeJson } from '../../core/json.ts';
import type { AnyWorkflowDefinition } from '../definition.ts';
import type {
  ApprovalOptions,
  ChildOptions,
  EventWaitOptions,
  InvokeOptions,
  RunOptions,
  SignalWaitOptions,
  WorkflowContext,
} from './context.ts';
import type { FunctionCall } from './function-call.ts';
import { readPolicy } from './function-rules.ts';
import type { FunctionRun } from './function-run.ts';
import type { Entry } from './ledger.ts';
import { mapItems, runBranches } from './map.ts';
import { checkDeclared, eventsOf } from './published-events.ts';
import { runStep, type StepSpec } from './run-steps.ts';
import { lookAtUndos } from './undo.ts';
import { undoableInputs } from './undo-names.ts';
import {
  approval,
  invoke,
  sleepFor,
  sleepTo,
  startDetached,
  waitForEvent,
  waitForSignal,
} from './waiting-calls.ts';

export function createContext(room: FunctionRun, call: FunctionCall): WorkflowContext {
  const { info } = room.run;
  const context = {
    runId: info.runId,
    tenantId: info.tenantId,
    correlationId: info.correlationId,
    attempt: Number(room.notes.get('attempt') ?? 1),
    get signal() {
      return call.signal;
    },
    log: createLog(room, call),
    run: (key: string, a: unknown, b?: unknown) => runOne(room, call, key, a, b),
    sleep: (a: unknown, b?: unknown) => sleepFor(room, call, a, b),
    sleepUntil: (a: unknown, b?: unknown) => sleepTo(room, call, a, b),
    waitForEvent: (event: string | EventDefinition, options: EventWaitOptions<unknown> = {}) =>
      waitForEvent(room, call, event, options),
    waitForSignal: (name: string, options: SignalWaitOptions<unknown, unknown> = {}) =>
      waitForSignal(room, call, name, options),
    invoke: (definition: AnyWorkflowDefinition, input: unknown, options: InvokeOptions = {}) =>
      invoke(room, call, definition, input, options),
    start: (definition: AnyWorkflowDefinition, input: unknown, options: ChildOptions = {}) =>
      startDetached(room, call, definition, input, options),
    approval: (key: string, options: ApprovalOptions = {}) => approval(room, call, key, options),
    map: (...args: [string, readonly unknown[], never, never?]) => mapItems(room, call, ...args),
    parallel: (branches: Readonly<Record<string, () => unknown>>) => runBranches(call, branches),
    patch: (id: string) => patch(room, call, id),
    now: () => now(room, call),
    random: (key?: string) => random(room, call, key),
    uuid: (key?: string) => uuid(room, call, key),
    publishEvent: (name: string, payload: unknown, options: { key?: string } = {}) =>
      publishEvent(room, call, name, payload, options.key),
  };
  return Object.freeze(context) as unknown as WorkflowContext;
}

/** Lines of a replay are not written again. */
function createLog(room: FunctionRun, call: FunctionCall): JobLog {
  const line =
    (level: keyof JobLog): JobLog[keyof JobLog] =>
    (message, fields) => {
      if (!call.abandoned && !call.replays) room.run.log(null)[level](message, fields);
    };
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
}

function specOf(room: FunctionRun, key: string, options: RunOptions<unknown, boolean>): StepSpec {
  const { transactional = false, idempotent = true, compensate } = options;
  return {
    ...readPolicy(`Step '${key}'`, options as Readonly<Record<string, unknown>>, room.rules.policy),
    transactional,
    idempotent,
    inputsJson: compensate === undefined ? undefined : undoableInputs,
    handle: () => undefined,
  };
}

async function runOne(
  room: FunctionRun,
  call: FunctionCall,
  key: string,
  a: unknown,
  b: unknown,
): Promise<unknown> {
  const [step, options = {}] = (typeof a === 'function' ? [a, b] : [b, a]) as [
    StepSpec['handle'],
    RunOptions<unknown, boolean>?,
  ];
  if (typeof step !== 'function') {
    throw new MillraceError('WORKFLOW_INVALID', `Step '${key}' is ${describeKind(step)}.`, {
      fix: 'Write ctx.run(key, step) or ctx.run(key, options, step).',
    });
  }
  const name = `${key}`;
  const usual = specOf(room, name, options);
  const { compensate, compensateRetry } = options;
  if (compensate !== undefined) {
    const retry = compensateRetry ?? options.retry;
    const policy = { ...specOf(room, name, { retry, timeoutMs: options.timeoutMs }) };
    call.undos.set(name, { policy, handle: compensate as never });
  }
  const answer = call.answer({ name, kind: 'run' }, (found) =>
    runStep(room, found, name, { ...usual, handle: step }),
  );
  if (compensate !== undefined) lookAtUndos(room);
  return answer;
}

function patch({ notes, journal, phase }: FunctionRun, call: FunctionCall, id: string): boolean {
  const key = `patch:${id}`;
  const known = notes.get(key);
  if (known !== undefined) return known === 'true';
  const isNew = !call.replays;
  notes.set(key, String(isNew));
  if (!call.abandoned && phase === 'forward') journal.add({ notes: [[key, String(isNew)]] });
  return isNew;
}

function now({ notes, journal, phase }: FunctionRun, call: FunctionCall): number {
  const key = call.scope.label('now:');
  const known = notes.get(key);
  if (known !== undefined) return Number(known);
  const at = Date.now();
  if (call.abandoned || phase !== 'forward') return at;
  notes.set(key, String(at));
  journal.add({ notes: [[key, String(at)]] });
  return at;
}

function digest(room: FunctionRun, call: FunctionCall, what: string, key?: string): Buffer {
  const place = key === undefined ? call.scope.name(what) : `${what}:${key}`;
  return createHash('sha256').update(`${room.run.info.runId} ${place}`).digest();
}

function random(room: FunctionRun, call: FunctionCall, key?: string): number {
  return digest(room, call, 'random', key).readUIntBE(0, 6) / 2 ** 48;
}

/** Version 8 of RFC 9562: ours, made of the run and the place. */
function uuid(room: FunctionRun, call: FunctionCall, key?: string): string {
  const bytes = digest(room, call, 'uuid', key).subarray(0, 16);
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  const cuts = [0, 8, 12, 16, 20, 32];
  return cuts
    .slice(1)
    .map((end, i) => hex.slice(cuts[i], end))
    .join('-');
}

async function publishEvent(
  room: FunctionRun,
  call: FunctionCall,
  event: string,
  payload: unknown,
  key: string | undefined,
): Promise<unknown> {
  checkDeclared(room, event);
  const copy = payload === undefined ? null : freezeJson(payload, { root: event });
  const name = key ?? call.scope.name(`publish:${event}`);
  return call.answer({ name, kind: 'run' }, (found) => {
    const { ledger, journal } = room;
    const created = found === null ? ledger.create({ name, kind: 'run' }) : null;
    const entry = created?.entry ?? (found as Entry);
    journal.add({ create: created?.part.create });
    journal.add(ledger.start(entry));
    const outcome = { success: true, retryable: false };
    const { routed, dispatch } = eventsOf(room, entry, [[event, copy]], outcome);
    journal.add({ ...ledger.complete(entry, null), events: routed });
    journal.onceStored(dispatch);
    return entry;
  });
}
