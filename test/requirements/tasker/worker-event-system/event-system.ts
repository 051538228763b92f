// #region document
import { connect, WorkerEventSystem } from 'millrace';
// #endregion
import type { Setting } from './setting.ts';

export async function eventSystem({ url, charged }: Setting) {
  const charge = async (payload: unknown) => void charged.push(payload);
  // #region document
  const mill = await connect(url);
  const system = new WorkerEventSystem({
    mill,
    namespaces: ['payments'],
    handlers: {
      // Messages of payments_queue named `step`; what it throws is tried again.
      step: async (message, { signal, log }) => {
        log.info('charging', { step: message.stepUuid, correlation: message.correlationId });
        await charge(message.payload);
        return { charged: !signal.aborted };
      },
    },
    config: {
      deploymentMode: 'Hybrid', // EventDrivenOnly, PollingOnly, Disabled
      maxConcurrentProcessors: 10,
      fallbackPoller: { pollingIntervalMs: 5_000, batchSize: 10 },
    },
  });
  await system.start();
  // #endregion
  return { mill, system };
}
