/**
 * The system under test of the workflow faults: trips that are booked by a durable function and by
 * a DAG with a diamond in it. Nothing keeps a second effect out, so that it can be seen.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { defineTask, defineWorkflow, type SqlTransaction } from 'millrace';

export interface Trip {
  readonly n: number;
  /** The worker is killed when this step has done its work and before that is stored. */
  readonly dieAt: string | null;
}

export interface TripWork {
  readonly worker: string;
  readonly directory: string;
  readonly effectsOutside?: boolean;
  rest(): Promise<void>;
  dieOnce(mark: string): void;
}

/** What each trip does, in an order that its edges allow. */
export const steps = ['flight', 'hotel', 'car', 'pay', 'ticket'] as const;

interface Doing {
  readonly runId: string;
  readonly tx: SqlTransaction | undefined;
}

export function defineTrips(work: TripWork) {
  const { worker, directory, effectsOutside = false } = work;
  const note = (kind: string, { n }: Trip, step: string) =>
    fs.appendFileSync(path.join(directory, worker), `${kind} ${step} ${n}\n`);
  const act = async (kind: string, trip: Trip, step: string, { runId, tx }: Doing) => {
    await work.rest();
    if (tx && !effectsOutside) {
      await tx.query(
        `insert into effect (stage, tenant_id, key, seq, attempt, worker)
          values ($1, 'default', $2, $3, 1, $4)`,
        [kind, step, trip.n, worker],
      );
    } else {
      note(kind, trip, step);
    }
    if (trip.dieAt === step) work.dieOnce(runId);
    return `${step} ${trip.n}`;
  };
  const transactional = (step: string) => step === 'hotel' || step === 'pay';
  const byFunction = defineWorkflow(
    'trip_function',
    { namespace: 'faults' },
    async (ctx, trip: Trip) => {
      const done: string[] = [];
      const run = (step: string) =>
        ctx.run(step, { transactional: transactional(step) }, ({ tx }) =>
          act('function', trip, step, { runId: ctx.runId, tx }),
        );
      done.push(await run('flight'));
      const both = await ctx.parallel({ hotel: () => run('hotel'), car: () => run('car') });
      done.push(both.hotel, both.car);
      await ctx.sleep('think', 20);
      done.push(await run('pay'), await run('ticket'));
      return done;
    },
  );
  const handler =
    (step: string) =>
    (ctx: { readonly input: unknown; readonly runId: string; readonly tx: unknown }) =>
      act('dag', ctx.input as Trip, step, {
        runId: ctx.runId,
        tx: ctx.tx as SqlTransaction | undefined,
      });
  const byDag = defineTask<Trip>('trip_dag', { namespace: 'faults', identity: 'always_unique' })
    .step('flight', { handler: handler('flight') })
    .step('hotel', { after: ['flight'], transactional: true, handler: handler('hotel') })
    .step('car', { after: ['flight'], handler: handler('car') })
    .step('pay', { after: ['hotel', 'car'], transactional: true, handler: handler('pay') })
    .step('ticket', { after: ['pay'], handler: handler('ticket') })
    .build();
  return { function: byFunction, dag: byDag };
}
