/**
 * Parents and children in different queues, so in different slots. A parent's end is news in the
 * slot of the parent, written with that end; from there it is carried to the child's slot and only
 * then struck out. A child is enqueued first and linked to its parents after that. Whoever crashes
 * between two steps leaves a note in one of the slots, and the next sweep goes on; a child takes
 * each piece of news once, however often it comes.
 */
import type { Context } from './context.ts';
import { scripts } from './scripts.ts';

interface News {
  readonly entry: string;
  /** Base of the child's queue. */
  readonly base: string;
  readonly child: string;
  readonly parent: string;
  readonly completed: boolean;
}

/** A child without links for so long was forgotten by who enqueued it. */
const forgottenMsDefault = 5_000;

/** Carries what the slot of a queue has for others, and what follows from it elsewhere. */
export async function carryNews(context: Context, queue: string): Promise<void> {
  const { redis, keys } = context;
  const base = keys.queue(queue);
  for (;;) {
    const entries = await redis.send<string[]>(base, ['LRANGE', `${base}:out`, '0', '199']);
    if (entries.length === 0) return;
    await deliver(context, base, entries.map(newsOf));
  }
}

async function deliver(context: Context, from: string, news: readonly News[]): Promise<void> {
  const { redis, keys } = context;
  for (const [base, some] of Map.groupBy(news, ({ base }) => base)) {
    await tell(context, keys.queueOf(base), some, []);
    const key = `${from}:out`;
    await Promise.all(some.map(({ entry }) => redis.send(from, ['LREM', key, '1', entry])));
  }
}

type Told = Pick<News, 'child' | 'parent' | 'completed'>;

async function tell(
  context: Context,
  queue: string,
  news: readonly Told[],
  linked: readonly string[],
): Promise<void> {
  const { redis, keys } = context;
  const told = news.flatMap(({ child, parent, completed }) => [
    child,
    parent,
    completed ? '1' : '',
  ]);
  const args = [news.length, ...told, ...linked];
  type Reply = [news: number, waiting: number];
  const [more, waiting] = await redis.run<Reply>(scripts.deliver, keys.queue(queue), args);
  if (waiting === 1) await sendNotice(context, `jobs ${queue}`);
  if (more === 1) await carryNews(context, queue);
}

/** Hints only: whoever misses one looks by himself before long. */
export async function sendNotice({ redis, keys }: Context, notice: string): Promise<void> {
  await redis.send(null, ['PUBLISH', keys.notices, notice]).catch(() => {});
}

/** A child of this queue with its parents in other queues. */
export interface Child {
  readonly id: string;
  readonly policy: string;
  readonly parents: readonly string[];
}

/** Links children of a queue to their parents elsewhere; safe to repeat. */
export async function linkChildren(
  context: Context,
  queue: string,
  children: readonly Child[],
): Promise<void> {
  if (children.length === 0) return;
  const { redis, keys, lanes } = context;
  const laneOf = (parent: string) => Number(parent.slice(0, parent.indexOf('-')));
  await lanes.load(children.flatMap(({ parents }) => parents.map(laneOf)));
  const links = children.flatMap(({ id, policy, parents }) =>
    parents.map((parent) => ({ child: id, policy, parent, at: lanes.get(laneOf(parent))?.queue })),
  );
  const news: Told[] = [];
  for (const [at, some] of Map.groupBy(links, (link) => link.at)) {
    if (at === queue) continue; // linked when it was stored
    // Of a lane that never was nobody can wait for a job.
    let answers = some.map(() => 1);
    if (at !== undefined) {
      const args = some.flatMap(({ parent, policy, child }) => [parent, policy, child]);
      answers = await redis.run(scripts.link, keys.queue(at), [keys.queue(queue), ...args]);
    }
    for (const [i, answer] of answers.entries()) {
      const { child, parent } = some[i] as (typeof some)[number];
      if (answer !== 0) news.push({ child, parent, completed: answer === 1 });
    }
  }
  await tell(
    context,
    queue,
    news,
    children.map(({ id }) => id),
  );
}

/** Finishes in every queue what somebody left undone. */
export async function sweepQueues(context: Context, forgottenMs = forgottenMsDefault) {
  const { redis, keys } = context;
  const { registry } = keys;
  const queues = await redis.send<string[]>(registry, ['SMEMBERS', `${registry}:queues`]);
  await Promise.all(queues.map((queue) => sweep(context, queue, forgottenMs)));
}

async function sweep(context: Context, queue: string, forgottenMs: number): Promise<void> {
  const { redis, keys } = context;
  const base = keys.queue(queue);
  type Reply = [entries: string[], children: string[][]];
  const [entries, found] = await redis.run<Reply>(scripts.sweep, base, [forgottenMs]);
  if (entries.length > 0) await carryNews(context, queue);
  const children = found.map(([id, policy, ...parents]) => ({ id, policy, parents }) as Child);
  await linkChildren(context, queue, children);
}

function newsOf(entry: string): News {
  const [base, child, parent, completed] = entry.split(' ') as [string, string, string, string];
  return { entry, base, child, parent, completed: completed === '1' };
}
