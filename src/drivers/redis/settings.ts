/** Queues and their settings, shared by all processes. */
import type { JobStore, Limits, QueueSettings, QueueState } from '../../ports/jobs.ts';
import type { Context } from './context.ts';
import { knownQueues } from './queues.ts';
import { scripts } from './scripts.ts';

const fields = [
  'paused',
  'concurrency',
  'rate',
  'rateMs',
  'keyConcurrency',
  'keyRate',
  'keyRateMs',
  'lengthMax',
] as const;

export function createSettings(context: Context): Pick<JobStore, 'configure' | 'queues'> {
  const { redis, keys } = context;
  return {
    async configure(queues) {
      for (const settings of queues) {
        const { registry } = keys;
        await redis.send(registry, ['SADD', `${registry}:queues`, settings.queue]);
        const args = settingArguments(settings);
        if (args.length > 1) await redis.run(scripts.configure, keys.queue(settings.queue), args);
      }
    },
    async queues() {
      const queues = await knownQueues(context);
      return Promise.all(
        queues.map(async (queue) => {
          const base = keys.queue(queue);
          const values = await redis.send<(string | null)[]>(base, [
            'HMGET',
            `${base}:q`,
            ...fields,
          ]);
          return toState(queue, values);
        }),
      );
    },
  };
}

/** Whether limits change, then names and values; '' removes. */
function settingArguments(settings: QueueSettings): (string | number)[] {
  const { limits, keyLimits, paused, lengthMax } = settings;
  const args: (string | number)[] = [limits !== undefined || keyLimits !== undefined ? '1' : ''];
  if (limits !== undefined) args.push(...limitArguments(['concurrency', 'rate', 'rateMs'], limits));
  if (keyLimits !== undefined) {
    args.push(...limitArguments(['keyConcurrency', 'keyRate', 'keyRateMs'], keyLimits));
  }
  if (paused !== undefined) args.push('paused', paused ? '1' : '');
  if (lengthMax !== undefined) args.push('lengthMax', lengthMax ?? '');
  return args;
}

function limitArguments(names: [string, string, string], limits: Limits | null) {
  const { concurrency, rate } = limits ?? {};
  const values = [concurrency ?? '', rate?.max ?? '', rate?.perMs ?? ''];
  return names.flatMap((name, i) => [name, values[i] as number | '']);
}

function toState(
  queue: string,
  values: readonly (string | null)[],
): QueueState & { readonly pausedAt: string | null } {
  const [paused, ...numbers] = values;
  const [concurrency, max, perMs, keyConcurrency, keyMax, keyPerMs, lengthMax] = numbers.map(
    (value) => (value === null ? null : Number(value)),
  ) as (number | null)[];
  return {
    queue,
    paused: paused !== null,
    pausedAt: paused ? new Date(Number(paused)).toISOString() : null,
    limits: toLimits(concurrency, max, perMs),
    keyLimits: toLimits(keyConcurrency, keyMax, keyPerMs),
    lengthMax: lengthMax ?? null,
  };
}

type Value = number | null | undefined;

function toLimits(concurrency: Value, max: Value, perMs: Value): Limits | null {
  const hasRate = typeof max === 'number' && typeof perMs === 'number';
  if (typeof concurrency !== 'number' && !hasRate) return null;
  return {
    ...(typeof concurrency === 'number' && { concurrency }),
    ...(hasRate && { rate: { max, perMs } }),
  };
}
