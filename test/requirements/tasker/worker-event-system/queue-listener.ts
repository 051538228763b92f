import type { WorkerEventSystem } from 'millrace';

export function queueListener(system: WorkerEventSystem) {
  // #region document
  const { received, eventsMerged, eventsDropped, eventsShed, reconnects } = system.statistics();
  console.log(`heard: ${received.local} of this process, ${received.notice} of others`);
  console.log(`merged ${eventsMerged}, dropped ${eventsDropped}, shed ${eventsShed}`);
  console.log(`the connection was built anew ${reconnects} times`);
  // #endregion
}
