/** What the engine needs of declared workflows beyond their definitions. */
import type { StoredTemplate } from '../../ports/workflows.ts';
import type { AnyWorkflowDefinition } from '../definition.ts';
import type { RunRemoteStep } from '../run/remote-step.ts';
import type { HandlerRegistry } from '../steps/handler-registry.ts';
import type { DagDefinition } from './definition.ts';
import { runnerFor } from './remote.ts';

interface DagPlugs {
  /** Runs of a template that is not registered any more are driven as it says. */
  fromTemplate(stored: StoredTemplate): AnyWorkflowDefinition | null;
  /** Steps of other namespaces' runs, with the handlers of the workflows of this process. */
  readonly runRemoteStep: RunRemoteStep;
}

/** @param definitions those that the process knows at the time. */
export function dagPlugs(definitions: () => readonly AnyWorkflowDefinition[]): DagPlugs {
  const dags = () => definitions().filter((one): one is DagDefinition => one.kind === 'dag');
  const runners = new WeakMap<HandlerRegistry, RunRemoteStep>();
  const runnerOf = ({ registry }: DagDefinition) => {
    let runner = runners.get(registry);
    if (runner === undefined) {
      runner = runnerFor(registry);
      runners.set(registry, runner);
    }
    return runner;
  };
  return {
    fromTemplate: (stored) => {
      const { namespace, name, version } = stored;
      const same = dags().filter((one) => one.namespace === namespace && one.name === name);
      const nearest = same.find((one) => one.version === version) ?? same.at(-1);
      return nearest?.fromTemplate(stored) ?? null;
    },
    runRemoteStep: (call) => {
      const own = dags().filter((one) => one === call.definition);
      for (const one of [...own, ...dags()]) {
        const running = runnerOf(one)(call);
        if (running !== null) return running;
      }
      return null;
    },
  };
}
