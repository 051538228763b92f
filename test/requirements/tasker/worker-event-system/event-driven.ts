// #region document
import type { EventDrivenSystem, SystemStatistics } from 'millrace';

/** Whatever the system is for: it can be stopped, and says how it did. */
export async function drain<Event>(system: EventDrivenSystem<Event>): Promise<SystemStatistics> {
  if (system.isRunning) await system.stop({ graceMs: 10_000 });
  return system.statistics();
}
// #endregion
