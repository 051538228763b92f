/**
 * What a durable function waits for, as questions to its history: times, events, signals, decisions
 * and other workflows. Called by its context.
 */
import { describeKind } from '../../core/describe.ts';
import { MillraceError } from '../../core/errors.ts';
import type { EventDefinition } from '../../core/event.ts';
import { describeIssues, validateWith } from '../../core/schema.ts';
import type { AnyWorkflowDefinition } from '../definition.ts';
import { checkChild, newChild } from './children.ts';
import type {
  ApprovalOptions,
  ChildOptions,
  EventWaitOptions,
  InvokeOptions,
  SignalWaitOptions,
  WaitOptions,
} from './context.ts';
import { parseDuration } from './duration.ts';
import type { FunctionCall } from './function-call.ts';
import type { FunctionRun } from './function-run.ts';
import type { Entry } from './ledger.ts';
import { decisionOf } from './messages.ts';
import { startWait, type WaitSpec } from './waits.ts';

export async function sleepFor(room: FunctionRun, call: FunctionCall, a: unknown, b: unknown) {
  const [key, duration] = b === undefined ? [undefined, a] : [a as string, b];
  const ms = parseDuration(duration, `sleep${key === undefined ? '' : ` '${key}'`}`);
  return sleepStep(room, call, key, () => Date.now() + ms);
}

export async function sleepTo(room: FunctionRun, call: FunctionCall, a: unknown, b: unknown) {
  const [key, moment] = b === undefined ? [undefined, a] : [a as string, b];
  const at = moment instanceof Date ? moment.getTime() : moment;
  if (typeof at === 'number' && at >= 0) return sleepStep(room, call, key, () => Math.ceil(at));
  throw new MillraceError('WORKFLOW_INVALID', `sleepUntil: ${describeKind(moment)} is no moment.`, {
    fix: 'Give a Date or milliseconds since 1970.',
  });
}

function sleepStep(
  room: FunctionRun,
  call: FunctionCall,
  key: string | undefined,
  wakeAt: () => number,
): Promise<unknown> {
  const name = key ?? call.scope.name('sleep');
  return ask(room, call, () => ({ name, kind: 'sleep', inputs: null, wakeAt: wakeAt() }), name);
}

/** A wait as a question, and as what begins when there is no answer. */
function ask(
  room: FunctionRun,
  call: FunctionCall,
  spec: () => WaitSpec,
  name: string,
  about: string | null = null,
  kind: WaitSpec['kind'] = 'sleep',
): Promise<unknown> {
  return call.answer({ name, kind, about }, (found) => startWait(room, found, spec()));
}

function wakeAtOf(timeoutMs: WaitOptions<unknown>['timeoutMs'], path: string): number | null {
  return timeoutMs === undefined ? null : Date.now() + parseDuration(timeoutMs, path);
}

/** What the wait gives when its time is over, where something was said. */
async function orOtherwise(
  answer: Promise<unknown>,
  options: WaitOptions<unknown>,
): Promise<unknown> {
  if (!Object.hasOwn(options, 'otherwise')) return answer;
  return answer.catch((error) => {
    if (error instanceof MillraceError && error.code === 'WORKFLOW_TIMEOUT') {
      return options.otherwise;
    }
    throw error;
  });
}

export async function waitForEvent(
  room: FunctionRun,
  call: FunctionCall,
  event: string | EventDefinition,
  options: EventWaitOptions<unknown>,
): Promise<unknown> {
  const about = typeof event === 'string' ? event : event.type;
  const name = options.as ?? call.scope.name(`event:${about}`);
  const spec = (): WaitSpec => ({
    name,
    kind: 'event',
    inputs: { about, key: options.key ?? null },
    wakeAt: wakeAtOf(options.timeoutMs, `waitForEvent '${about}': timeoutMs`),
  });
  return orOtherwise(ask(room, call, spec, name, about, 'event'), options);
}

export async function waitForSignal(
  room: FunctionRun,
  call: FunctionCall,
  signal: string,
  options: SignalWaitOptions<unknown, unknown>,
): Promise<unknown> {
  return orOtherwise(signalThatFits(room, call, signal, options), options);
}

/** What does not fit its schema is refused: the next one is waited for. */
async function signalThatFits(
  room: FunctionRun,
  call: FunctionCall,
  signal: string,
  options: SignalWaitOptions<unknown, unknown>,
): Promise<unknown> {
  const { as, schema, timeoutMs } = options;
  for (let n = 1; ; n += 1) {
    const first = as ?? call.scope.name(`signal:${signal}`);
    const name = n === 1 || as === undefined ? first : `${first}~${n}`;
    const value = await call.answer({ name, kind: 'signal', about: signal }, (found) => {
      const letter = isNew(found) ? room.inbox.take('signal', signal) : null;
      const entry = startWait(room, found, {
        name,
        kind: 'signal',
        inputs: { about: signal },
        wakeAt: wakeAtOf(timeoutMs, `waitForSignal '${signal}': timeoutMs`),
      });
      return letter === null
        ? entry
        : endAtOnce(room, entry, letter.letter.payloadJson, letter.note);
    });
    if (schema === undefined) return value;
    const result = validateWith(schema, value);
    if (result.issues === undefined) return result.value;
    if (call.replays) continue;
    const problem = describeIssues(result.issues, 'signal');
    room.run.log(null).warn(`signal ${signal} was refused: ${problem}`);
  }
}

/** It begins now, for the first time or again. */
function isNew(found: Entry | null): boolean {
  return found === null || found.step.state === 'pending';
}

/** What it waits for was there before. */
function endAtOnce(
  room: FunctionRun,
  entry: Entry,
  resultJson: string,
  note: readonly [string, string | null],
): Entry {
  room.journal.add({ ...room.ledger.complete(entry, resultJson), notes: [note] });
  return entry;
}

export async function approval(
  room: FunctionRun,
  call: FunctionCall,
  key: string,
  options: ApprovalOptions,
): Promise<unknown> {
  const { message, timeoutMs, onTimeout = 'reject' } = options;
  return call.answer({ name: key, kind: 'approval' }, (found) => {
    const letter = isNew(found) ? room.inbox.take('approval', key) : null;
    const inputs = { onTimeout, ...(message !== undefined && { message }) };
    const wakeAt = wakeAtOf(timeoutMs, `approval '${key}': timeoutMs`);
    const entry = startWait(room, found, { name: key, kind: 'approval', inputs, wakeAt });
    if (letter === null) return entry;
    return endAtOnce(room, entry, decisionOf(letter.letter.payloadJson), letter.note);
  });
}

export async function invoke(
  room: FunctionRun,
  call: FunctionCall,
  definition: AnyWorkflowDefinition,
  input: unknown,
  options: InvokeOptions,
): Promise<unknown> {
  checkChild(definition);
  const name = options.key ?? call.scope.name(`child:${definition.name}`);
  const about = definition.name;
  return call.answer({ name, kind: 'child', about }, (found) => {
    const step = found?.step.no ?? null;
    if (found?.step.state === 'in_progress') {
      return startWait(room, found, { name, kind: 'child', inputs: null, wakeAt: null });
    }
    const wakeAt = wakeAtOf(options.timeoutMs, `invoke '${about}': timeoutMs`);
    const child = newChild(room, { definition, input, priority: options.priority, step });
    // Its number is known once it is created: nothing comes in between.
    const no = step ?? room.ledger.entries.length;
    const starts = [{ ...child, parent: { runId: room.run.info.runId, step: no } }];
    const inputs = { about, runId: child.runId };
    return startWait(room, found, { name, kind: 'child', inputs, wakeAt, with: { starts } });
  });
}

export async function startDetached(
  room: FunctionRun,
  call: FunctionCall,
  definition: AnyWorkflowDefinition,
  input: unknown,
  options: ChildOptions,
): Promise<unknown> {
  checkChild(definition);
  const name = options.key ?? call.scope.name(`start:${definition.name}`);
  const about = definition.name;
  return call.answer({ name, kind: 'child', about }, (found) => {
    const child = newChild(room, { definition, input, priority: options.priority, step: null });
    const { runId } = child;
    const entry = startWait(room, found, {
      name,
      kind: 'child',
      inputs: { about, runId },
      wakeAt: null,
      with: { starts: [child] },
    });
    room.journal.add(room.ledger.complete(entry, JSON.stringify({ runId })));
    return entry;
  });
}
