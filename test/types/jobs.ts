/** What must compile of jobs and what must not; checked by `tsc`, never run. */
import {
  type AnyJobDefinition,
  defineJob,
  type JobInput,
  type JobPayload,
  type JobProgress,
  type JobResult,
  type SqlTransaction,
} from 'millrace';
import { z } from 'zod';

/** True when both are the same type, where assigning one to the other would let `any` pass. */
type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_: Same<A, B>) => {};

const Send = defineJob('invoice.send', {
  schema: z.object({ invoiceId: z.string(), copies: z.number().default(1) }),
  progress: z.object({ percent: z.number() }),
  key: (payload) => payload.invoiceId,
  unique: (payload) => ({ key: payload.invoiceId, mode: 'debounce', windowMs: payload.copies }),
  backoff: { kind: 'fibonacci', delayMs: 100 },
  handler: async (payload, ctx) => {
    ctx.progress({ percent: payload.copies });
    // @ts-expect-error progress has the type of its schema
    ctx.progress({ percent: '1' });
    same<typeof ctx.tx, undefined>(true);
    const at: number = ctx.enqueuedAt.getTime();
    return { sentAt: `${at}` };
  },
});
same<JobPayload<typeof Send>, { invoiceId: string; copies: number }>(true);
same<JobResult<typeof Send>, { sentAt: string }>(true);
same<JobProgress<typeof Send>, { percent: number }>(true);
// What the schema fills in need not be given, and frozen payloads are taken.
Send.prepare({ invoiceId: 'i' });
Send.prepare(Object.freeze({ invoiceId: 'i', copies: 2 }), { tenantId: 't', delayMs: 5 });
// @ts-expect-error a member of the payload is missing
Send.prepare({ copies: 1 });
// @ts-expect-error a member of the payload has another type
Send.prepare({ invoiceId: 1 });
// @ts-expect-error functions cannot travel with a job
Send.prepare({ invoiceId: 'i' }, { backoff: () => 1 });
const input: JobInput<typeof Send> = { invoiceId: 'i' };
void input;

// @ts-expect-error the key is made from the payload's own members
defineJob('broken', { schema: z.object({ a: z.string() }), key: (payload) => payload.b });

// The result schema has the last word: on what is returned, and on what is read.
const Counted = defineJob('counted', {
  result: z.object({ count: z.number().default(0) }),
  handler: () => ({ count: 1 }),
});
same<JobResult<typeof Counted>, { count: number }>(true);
defineJob('miscounted', {
  result: z.object({ count: z.number() }),
  // @ts-expect-error the result has another type than its schema says
  handler: () => ({ count: 'one' }),
});
defineJob('uncounted', {
  result: z.object({ count: z.number() }),
  // @ts-expect-error a promise of another type neither
  handler: async () => ({ amount: 1 }),
});

// Without a schema the handler's own parameter gives the type.
const Annotated = defineJob('annotated', { handler: (payload: { n: number }) => payload.n });
same<JobPayload<typeof Annotated>, { n: number }>(true);
same<JobResult<typeof Annotated>, number>(true);
// @ts-expect-error the payload is what the handler takes
Annotated.prepare({ n: '1' });

const Transfer = defineJob('transfer', {
  schema: z.object({ cents: z.number() }),
  transactional: true,
  handler: async ({ cents }, ctx) => {
    same<typeof ctx.tx, SqlTransaction>(true);
    const rows = await ctx.tx.query<{ id: number }>('insert into transfer …', [cents]);
    return rows.length;
  },
});
same<JobResult<typeof Transfer>, number>(true);

const Index = defineJob('index', {
  schema: z.object({ id: z.string() }),
  batch: { max: 100 },
  handler: async (jobs, ctx) => {
    // @ts-expect-error a batch has no transaction
    void ctx.tx;
    return jobs.map(({ payload }) => (payload.id ? payload.id.length : new TypeError('empty')));
  },
});
same<JobPayload<typeof Index>, { id: string }>(true);
same<JobResult<typeof Index>, number>(true);
// @ts-expect-error a batch handler answers with one result per job
defineJob('unbatched', { batch: { max: 100 }, handler: async (jobs) => jobs.length });

const Render = defineJob('render', {
  schema: z.object({ page: z.number() }),
  result: z.object({ png: z.string() }),
  sandbox: { module: new URL('file:///render.ts'), memoryMbMax: 64 },
});
same<JobResult<typeof Render>, { png: string }>(true);

// To enqueue only: workers elsewhere have the handler.
const Elsewhere = defineJob('elsewhere', { schema: z.object({ id: z.string() }) });
same<JobPayload<typeof Elsewhere>, { id: string }>(true);
same<JobResult<typeof Elsewhere>, unknown>(true);
const Bare = defineJob('bare');
Bare.prepare(undefined);

// Definitions of different payloads share one list.
const all: readonly AnyJobDefinition[] = [Send, Counted, Annotated, Transfer, Index, Render, Bare];
void all;
declare function enqueue<D extends AnyJobDefinition>(
  definition: D,
  payload: JobInput<D>,
): Promise<JobResult<D>>;
const sent: { sentAt: string } = await enqueue(Send, { invoiceId: 'i' });
void sent;
// @ts-expect-error the payload is that of another job
await enqueue(Transfer, { invoiceId: 'i' });
