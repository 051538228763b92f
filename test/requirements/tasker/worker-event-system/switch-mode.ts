import type { WorkerEventSystem } from 'millrace';

export async function switchMode(system: WorkerEventSystem) {
  // #region document
  // The database is about to fail over: notices will be lost for a while.
  await system.switchMode('PollingOnly');
  // Back again; whatever was not heard meanwhile is looked for first.
  await system.switchMode('Hybrid');
  // #endregion
}
