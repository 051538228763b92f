// #region document
import { WorkerScaler } from 'millrace';
// #endregion
import type { Setting } from './setting.ts';

export async function horizontalScaling({ connection }: Setting) {
  // #region document
  const workerScaler = new WorkerScaler({
    ...connection,
    scaling: {
      minWorkers: 1,
      maxWorkers: 10,
      scaleUpThreshold: 0.8,
      scaleDownThreshold: 0.2,
      scaleUpCooldown: 300000, // 5 minutes
      scaleDownCooldown: 600000, // 10 minutes
    },
  });

  // Start auto-scaling
  await workerScaler.start();

  // Manual scaling
  await workerScaler.scaleTo(5);
  // #endregion
  return { workerScaler };
}
