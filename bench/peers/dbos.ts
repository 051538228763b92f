/**
 * DBOS Transact 5: a workflow function of `DBOS.runStep` calls, started and awaited by its handle.
 * Its pool is as large as the runs that are under way, tracing is off. It is given a pool, because
 * it cannot read the URL of a socket directory.
 */
import { DBOS } from '@dbos-inc/dbos-sdk';
import pg from 'pg';
import type { WorkflowProduct } from '../workflows/product.ts';

const poolSize = 20;

export const dbos: WorkflowProduct = {
  name: 'dbos',
  settings: `pool of ${poolSize}, no tracing, no logs`,
  async open(url) {
    const pool = new pg.Pool({ connectionString: url, max: poolSize });
    DBOS.setConfig({
      name: 'bench',
      systemDatabaseUrl: 'postgresql://postgres@localhost:5432/postgres', // the pool counts
      systemDatabasePool: pool,
      systemDatabasePoolSize: poolSize,
      tracingEnabled: false,
      enableOTLP: false,
      logLevel: 'error',
    });
    const sequential = DBOS.registerWorkflow(
      async (steps: number) => {
        let sum = 0;
        for (let step = 0; step < steps; step += 1) {
          sum += await DBOS.runStep(async () => step, { name: `step_${step}` });
        }
        return sum;
      },
      { name: 'sequential' },
    );
    await DBOS.launch();
    return {
      async runSequential(steps) {
        const handle = await DBOS.startWorkflow(sequential)(steps);
        await handle.getResult();
      },
      async close() {
        await DBOS.shutdown();
        await pool.end();
      },
    };
  },
};
