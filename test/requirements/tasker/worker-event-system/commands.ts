import type { WorkerEventSystem } from 'millrace';

export async function commands(system: WorkerEventSystem, messageId: string) {
  // #region document
  const queueName = 'payments_queue';
  const { status } = await system.processor.send({
    type: 'ExecuteStepWithCorrelation',
    message: { messageId },
    queueName,
    correlationId: 'corr_xyz',
  });
  console.log(status); // accepted, or duplicate when somebody has taken it already

  const worker = await system.processor.send({ type: 'GetWorkerStatus' });
  console.log(worker.namespaces[0]?.running, worker.statistics.commands.ExecuteStep);
  // #endregion
  return status;
}
