// #region document
import { loadConfiguration, type Millrace, WorkerEventSystem } from 'millrace';

export function configured(mill: Millrace, directory: string): WorkerEventSystem {
  const { configuration } = loadConfiguration({ directory, environment: 'production' });
  return new WorkerEventSystem({
    mill,
    namespaces: ['payments'],
    executor: (message) => message.payload,
    config: configuration.eventSystem,
  });
}
// #endregion
