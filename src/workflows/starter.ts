/**
 * Starting runs: checked and printed once, then stored together with all others that are started at
 * the same time. A run that this process can hold is born held and driven as soon as it is durable;
 * any other waits in its queue.
 */
import { createHash } from 'node:crypto';
import { isMillraceError, MillraceError } from '../core/errors.ts';
import { newEventId } from '../core/ids.ts';
import type { SqlTransaction } from '../core/sql-transaction.ts';
import { runIdentity } from '../core/workflow/identity.ts';
import type { Tracing } from '../ports/tracing.ts';
import type { NewRun, StartResult, WorkflowStore } from '../ports/workflows.ts';
import { sleep } from '../runtime/bell.ts';
import { isAway } from './committer.ts';
import { type AnyWorkflowDefinition, jobNameOf, queueOf } from './definition.ts';
import { GroupCommit } from './group-commit.ts';
import { type Holder, infoOf } from './holder.ts';
import type { StartOptions } from './options.ts';
import type { Registry } from './registry.ts';
import { tellObservers } from './run/observer.ts';

export interface StarterOptions {
  readonly store: WorkflowStore;
  readonly registry: Registry;
  readonly holder: Holder;
  readonly tracing?: Tracing | undefined;
  epoch(): number | null;
  woken(queues: readonly string[]): void;
  onError(error: unknown, where: string): void;
}

interface Starting {
  run: NewRun;
  readonly definition: AnyWorkflowDefinition;
  /** Of a run that is born held. */
  epoch: number | null;
}

const batchMax = 500;
const bufferMax = 50_000;
const patienceMs = 30_000;
const stagedMsMax = 60_000;

export class Starter {
  readonly #options: StarterOptions;
  readonly #group: GroupCommit<Starting, StartResult>;
  readonly #stop = new AbortController();
  started = 0;

  constructor(options: StarterOptions) {
    this.#options = options;
    this.#group = new GroupCommit({
      batchMax,
      bufferMax,
      patienceMs,
      send: (items, again) => this.#send(items, again),
      onError: (error) => options.onError(error, 'starting runs'),
    });
  }

  async start(
    definition: AnyWorkflowDefinition,
    input: unknown,
    options: StartOptions,
  ): Promise<StartResult> {
    const { registry, holder } = this.#options;
    const run = prepareRun(definition, input, this.#inTrace(options));
    if (!registry.isSaved(definition)) await registry.save([definition]);
    const held = run.delayMs === 0 && holder.reserve(definition);
    const epoch = held ? this.#options.epoch() : null;
    const starting: Starting = { run: held ? { ...run, held } : run, definition, epoch };
    try {
      const result = await this.#group.add(starting);
      this.#begin(starting, result);
      return result;
    } catch (error) {
      if (starting.epoch !== null) void this.#lookAfter(starting, starting.epoch, error);
      throw error;
    }
  }

  /** In the caller's transaction: it exists if and when that commits. */
  async startIn(
    tx: SqlTransaction,
    definition: AnyWorkflowDefinition,
    input: unknown,
    options: StartOptions,
  ): Promise<StartResult> {
    const { store, registry } = this.#options;
    const run = prepareRun(definition, input, this.#inTrace(options));
    // By itself: a template is the same whether the caller's transaction commits or not.
    await registry.save([definition]);
    const { results } = await store.start([run], { epoch: null, again: false, tx });
    const result = results[0] as StartResult;
    if (!result.duplicate) void this.#watch(run);
    return result;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#group.close();
  }

  /** In the turn in which the answer came, so that no commit leaves without its first step. */
  #begin({ run, definition, epoch }: Starting, { duplicate }: StartResult): void {
    const { holder, onError } = this.#options;
    if (!duplicate) this.started += 1;
    if (epoch === null) {
      if (duplicate) return;
      tellObservers(holder.observers, onError, (it) => it.created?.(infoOf(run)));
    } else if (duplicate) holder.unreserve();
    else holder.born(infoOf(run), definition, epoch);
  }

  async #send(items: readonly Starting[], again: boolean): Promise<readonly StartResult[]> {
    const { store, holder, woken } = this.#options;
    const epoch = this.#options.epoch();
    for (const item of items) {
      if (item.epoch === null || item.epoch === epoch) continue;
      // The epoch that was to hold it is over: it goes to its queue.
      holder.unreserve();
      item.epoch = null;
      item.run = { ...item.run, held: false };
    }
    const runs = items.map(({ run }) => run);
    const held = items.some((item) => item.epoch !== null);
    try {
      const answer = await store.start(runs, { epoch: held ? epoch : null, again });
      if (answer.woken.length > 0) woken(answer.woken);
      return answer.results;
    } catch (error) {
      const lost = isMillraceError(error) && error.code === 'LEASE_LOST';
      if (!lost || !held) throw error;
      for (const item of items) {
        if (item.epoch === null) continue;
        holder.unreserve();
        item.epoch = null;
        item.run = { ...item.run, held: false };
      }
      return this.#send(items, again);
    }
  }

  /** A run whose start was given up may be stored all the same, and be this process's to drive. */
  async #lookAfter(starting: Starting, epoch: number, error: unknown): Promise<void> {
    const { store, holder } = this.#options;
    const { run, definition } = starting;
    const unknown = isAway(error);
    for (let delayMs = 100; unknown && this.#options.epoch() === epoch; delayMs *= 2) {
      await sleep(Math.min(delayMs, 5_000), this.#stop.signal);
      if (this.#stop.signal.aborted) break; // whoever recovers this epoch has it
      const loaded = await store.load(run.runId).catch(() => undefined);
      if (loaded === undefined) continue;
      if (loaded === null) break;
      holder.born(loaded.info, definition, epoch);
      return;
    }
    holder.unreserve();
  }

  /** Nobody says when a caller's transaction commits: look for the run until it is there. */
  async #watch({ runId, queue }: NewRun): Promise<void> {
    const { store, woken } = this.#options;
    const until = performance.now() + stagedMsMax;
    const { signal } = this.#stop;
    for (let delayMs = 2; performance.now() < until; delayMs = Math.min(delayMs * 1.5, 500)) {
      await sleep(delayMs, signal);
      if (signal.aborted) return;
      const [found] = await store.queries.find([runId]).catch(() => []);
      if (found) return woken([queue]);
    }
  }

  #inTrace(options: StartOptions): StartOptions {
    const traceparent = options.traceparent ?? this.#options.tracing?.current() ?? null;
    return traceparent === null ? options : { ...options, traceparent };
  }
}

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const priorityRange = [-2_147_483_648, 2_147_483_647] as const;

/** A run as it is stored, not held. @throws MillraceError WORKFLOW_INPUT_INVALID */
export function prepareRun(
  definition: AnyWorkflowDefinition,
  input: unknown,
  options: StartOptions,
): NewRun {
  const { namespace, name, version, priority: usual } = definition;
  const { tenantId = 'default', priority = usual, delayMs = 0, metadata, key } = options;
  checkWhole(definition, 'priority', priority, ...priorityRange);
  checkWhole(definition, 'delayMs', delayMs, 0, 3_650 * 86_400_000);
  const inputJson = definition.printInput(input);
  return {
    runId: newEventId(),
    tenantId,
    namespace,
    name,
    version,
    templateHash: definition.template?.hash ?? '',
    identity: runIdentity({
      namespace,
      name,
      strategy: definition.identity,
      inputJson,
      key,
      hash: sha256,
    }),
    key: (definition.key === null ? null : definition.key(JSON.parse(inputJson))) ?? '',
    priority,
    correlationId: options.correlationId ?? crypto.randomUUID(),
    traceparent: options.traceparent ?? null,
    parent: null,
    inputJson,
    metadataJson: metadata === undefined ? null : JSON.stringify(metadata),
    queue: queueOf(definition),
    jobName: jobNameOf(definition),
    held: false,
    delayMs,
  };
}

function checkWhole(
  { namespace, name }: AnyWorkflowDefinition,
  option: string,
  value: unknown,
  least: number,
  most: number,
): void {
  if (typeof value === 'number' && value >= least && value <= most) {
    if (option === 'delayMs' || Number.isInteger(value)) return;
  }
  throw new MillraceError(
    'WORKFLOW_INPUT_INVALID',
    `${namespace}/${name}: ${option} is ${String(value)}; ${least} to ${most} are allowed.`,
    { fix: `Correct ${option}, or leave it out.` },
  );
}
