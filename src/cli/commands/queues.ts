/** `millrace queues list|pause|resume|limits`: how full queues are, and what holds them back. */
import type { Command } from 'commander';
import type { QueueAnswer } from '../../http/queue-routes.ts';
import type { Limits } from '../../ports/jobs.ts';
import { colors as pc } from '../colors.ts';
import { usage } from '../failure.ts';
import { hint } from '../hint.ts';
import { line, printJson } from '../io.ts';
import { type Cli, type PlaceFlags, withPlace } from '../options.ts';
import { type Cell, fields, table } from '../table.ts';
import { withApi } from '../with-api.ts';

interface QueueFlags extends PlaceFlags {
  readonly json?: boolean;
}

interface LimitFlags extends QueueFlags {
  readonly concurrency?: string;
  readonly rate?: string;
  readonly keyConcurrency?: string;
  readonly keyRate?: string;
  readonly lengthMax?: string;
}

export function addQueues(program: Command, cli: Cli): void {
  const queues = program.command('queues').description('how full queues are; pause and limit them');
  withPlace(queues.command('list'))
    .description('every queue with its counts')
    .action((flags: QueueFlags) => list(flags, cli));
  for (const [verb, description] of [
    ['pause', 'start no more of its jobs, in any worker; what runs goes on'],
    ['resume', 'start its jobs again'],
  ] as const) {
    withPlace(queues.command(verb))
      .description(description)
      .argument('<queue>')
      .action((queue: string, flags: QueueFlags) => steer(verb, queue, flags, cli));
  }
  withPlace(queues.command('limits'))
    .description("show or change a queue's limits; 'none' removes one")
    .argument('<queue>')
    .option('--concurrency <n>', 'jobs at a time, over all workers')
    .option('--rate <n/time>', 'jobs started in a while: 10/1s, 500/60s, 5/100ms')
    .option('--key-concurrency <n>', 'jobs at a time of each tenant and key by itself')
    .option('--key-rate <n/time>', 'the same for each tenant and key by itself')
    .option('--length-max <n>', 'jobs that wait at most; more are refused')
    .action((queue: string, flags: LimitFlags) => limits(queue, flags, cli));
}

async function list(flags: QueueFlags, { io }: Cli): Promise<void> {
  await withApi(flags, async (api) => {
    const { items } = await api.get<{ items: QueueAnswer[] }>('/ops/queues');
    if (flags.json) return printJson(io, { items });
    if (items.length === 0) return line(io.stdout, 'There are no queues yet.');
    line(
      io.stdout,
      table(
        ['queue', 'state', 'workers', 'waiting', 'running', 'later', 'dead', 'completed', 'limits'],
        items.map(rowOf),
      ),
    );
    const idle = items.find(({ counts, workers }) => counts.waiting > 0 && workers === 0);
    if (idle) line(io.stdout, pc.yellow(`  no worker listens to ${idle.queue}`));
    const dead = items.find(({ counts }) => counts.dead > 0);
    if (dead) line(io.stdout, hint(io, `jobs list --queue ${dead.queue} --status dead`, flags));
  });
}

function rowOf({ queue, paused, workers, counts, ...settings }: QueueAnswer): Cell[] {
  const { waiting, running, delayed, retrying, blocked, dead, quarantined, completed } = counts;
  const later = delayed + retrying + blocked;
  const state = paused ? 'paused' : 'open';
  const failed = dead + quarantined;
  return [queue, state, workers, waiting, running, later, failed, completed, words(settings)];
}

type Settings = Pick<QueueAnswer, 'limits' | 'keyLimits' | 'lengthMax'>;

function words({ limits, keyLimits, lengthMax }: Settings): string {
  const own = wordsOf(limits);
  const key = wordsOf(keyLimits);
  return [own, key && `each key ${key}`, lengthMax && `length ${lengthMax}`]
    .filter(Boolean)
    .join('; ');
}

function wordsOf(limits: Limits | null | undefined): string {
  const { concurrency, rate } = limits ?? {};
  return [
    concurrency === undefined ? '' : `${concurrency} at a time`,
    rate === undefined ? '' : `${rate.max} in ${rate.perMs} ms`,
  ]
    .filter((text) => text !== '')
    .join(', ');
}

const pathOf = (queue: string) => `/ops/queues/${encodeURIComponent(queue)}`;

async function steer(
  verb: 'pause' | 'resume',
  queue: string,
  flags: QueueFlags,
  { io }: Cli,
): Promise<void> {
  await withApi(flags, async (api) => {
    const answer = await api.post<QueueAnswer>(`${pathOf(queue)}/${verb}`);
    if (flags.json) return printJson(io, answer);
    const { waiting, running } = answer.counts;
    const state = pc.bold(answer.paused ? 'paused' : 'open');
    line(io.stdout, `${queue} is ${state}: ${waiting} waiting, ${running} running`);
  });
}

async function limits(queue: string, flags: LimitFlags, { io }: Cli): Promise<void> {
  await withApi(flags, async (api) => {
    const before = await api.get<QueueAnswer>(pathOf(queue));
    const body = settingsOf(before, flags);
    const answer =
      body === null ? before : await api.post<QueueAnswer>(`${pathOf(queue)}/limits`, { body });
    if (flags.json) return printJson(io, answer);
    const none = 'none';
    line(
      io.stdout,
      fields([
        ['queue', answer.queue],
        ['all its jobs', wordsOf(answer.limits) || none],
        ['each tenant and key', wordsOf(answer.keyLimits) || none],
        ['jobs that wait at most', answer.lengthMax ?? none],
      ]),
    );
  });
}

/** Null when nothing is to be changed. What is not given stays as it was. */
function settingsOf(before: QueueAnswer, flags: LimitFlags) {
  const { concurrency, rate, keyConcurrency, keyRate, lengthMax } = flags;
  const own = concurrency !== undefined || rate !== undefined;
  const key = keyConcurrency !== undefined || keyRate !== undefined;
  if (!own && !key && lengthMax === undefined) return null;
  return {
    ...(own && { limits: limitsOf(before.limits, concurrency, rate) }),
    ...(key && { keyLimits: limitsOf(before.keyLimits, keyConcurrency, keyRate) }),
    ...(lengthMax !== undefined && { lengthMax: countOf(lengthMax) }),
  };
}

function limitsOf(
  before: Limits | null | undefined,
  concurrency: string | undefined,
  rate: string | undefined,
): Limits | null {
  const wanted = {
    concurrency: concurrency === undefined ? before?.concurrency : countOf(concurrency),
    rate: rate === undefined ? before?.rate : rateOf(rate),
  };
  if (wanted.concurrency == null && wanted.rate == null) return null;
  return {
    ...(wanted.concurrency != null && { concurrency: wanted.concurrency }),
    ...(wanted.rate != null && { rate: wanted.rate }),
  };
}

function countOf(text: string): number | null {
  if (text === 'none') return null;
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw usage(`'${text}' is neither a number of 1 or more nor 'none'.`);
}

const unitMs = { ms: 1, s: 1_000, m: 60_000, min: 60_000, h: 3_600_000 } as const;

function rateOf(text: string): NonNullable<Limits['rate']> | null {
  if (text === 'none') return null;
  const match = /^([1-9]\d{0,6})\/([1-9]\d{0,6})?(ms|s|min|m|h)$/.exec(text);
  if (match) {
    const perMs = Number(match[2] ?? 1) * unitMs[match[3] as keyof typeof unitMs];
    return { max: Number(match[1]), perMs };
  }
  throw usage(`'${text}' is no rate.`, 'Write it like 10/1s, 500/60s, 1/h or none.');
}
