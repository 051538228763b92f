/**
 * The inside of a sandbox: a worker thread that runs one module's default export, one job at a
 * time, and answers with what it returned or threw. Started by SandboxThread, in a thread only.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { carryError, reviveError } from '../../runtime/carried-error.ts';
import { ContextSource } from './context-source.ts';
import type {
  FromSandbox,
  SandboxContext,
  SandboxData,
  SandboxHandler,
  ToSandbox,
} from './messages.ts';

const port = parentPort;
const { module } = workerData as SandboxData;
let running: ContextSource | null = null;

port?.on('message', (message: ToSandbox) => {
  if (message.kind === 'run') void run(message);
  else if (running?.task !== message.task) return;
  else if (message.kind === 'abort') running.abort(reviveError(message.reason));
  else if (message.kind === 'results') running.answer(message.results);
  else running.refuse(reviveError(message.error));
});

async function run({ task, payload, job }: ToSandbox & { kind: 'run' }): Promise<void> {
  const source = new ContextSource(task, say);
  running = source;
  const answer = await callHandler(task, payload, source.contextOf(job));
  running = null;
  source.end();
  try {
    say(answer);
  } catch (error) {
    say({ kind: 'unsent', task, error: carryError(error) });
  }
}

async function callHandler(
  task: number,
  payload: unknown,
  context: SandboxContext,
): Promise<FromSandbox> {
  let handler: SandboxHandler;
  try {
    handler = await loadHandler();
  } catch (error) {
    return { kind: 'unusable', task, error: carryError(error) };
  }
  try {
    return { kind: 'done', task, value: await handler(payload, context) };
  } catch (error) {
    return { kind: 'failed', task, error: carryError(error) };
  }
}

/** Loaded with the first job, so that a module that never ends loading has its time limit. */
async function loadHandler(): Promise<SandboxHandler> {
  const loaded = (await import(module)) as { readonly default?: unknown };
  if (typeof loaded.default === 'function') return loaded.default as SandboxHandler;
  throw new Error(`it has no function as its default export, but ${typeof loaded.default}`);
}

function say(message: FromSandbox): void {
  port?.postMessage(message);
}
