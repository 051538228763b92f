/** Workflows of YAML files: the templates with the handlers that they name. */
import type { AnyWorkflowDefinition } from '../definition.ts';
import {
  HandlerRegistry,
  type HandlerResolvers,
  type Handlers,
} from '../steps/handler-registry.ts';
import { type LoadTemplateOptions, loadTemplates } from '../template/load.ts';
import { workflowFromTemplate } from './definition.ts';

export interface DefineTemplatesOptions extends LoadTemplateOptions {
  readonly handlers: Handlers;
  readonly resolvers?: HandlerResolvers | undefined;
  /** Handlers of one run at a time; 10 by default. */
  readonly concurrency?: number | undefined;
}

/**
 * Files, directories (their *.yaml and *.yml, at any depth) and patterns.
 * @throws MillraceError TEMPLATE_INVALID with the problems of all files, WORKFLOW_INVALID for a
 * handler that is not there.
 * @example
 * mill.workflows.work(await defineTemplates('workflows/', { handlers: [chargeCard, shipOrder] }));
 */
export async function defineTemplates(
  paths: string | readonly string[],
  options: DefineTemplatesOptions,
): Promise<readonly AnyWorkflowDefinition[]> {
  const { handlers, resolvers, concurrency } = options;
  const registry = new HandlerRegistry(handlers, resolvers);
  const templates = await loadTemplates(paths, options);
  return templates.map((template) => workflowFromTemplate(template, registry, { concurrency }));
}
