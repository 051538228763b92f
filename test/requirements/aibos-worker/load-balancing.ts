// #region document
import { LoadBalancer } from 'millrace';
// #endregion

export async function loadBalancing() {
  // #region document
  const loadBalancer = new LoadBalancer({
    algorithm: 'round-robin',
    workers: ['worker-1:3001', 'worker-2:3001', 'worker-3:3001'],
    healthCheck: {
      interval: 30000,
      timeout: 5000,
    },
  });

  // Get next worker
  const worker = await loadBalancer.getNextWorker();

  // Check worker health
  const isHealthy = await loadBalancer.checkHealth(worker);
  // #endregion
  return { loadBalancer, worker, isHealthy };
}
