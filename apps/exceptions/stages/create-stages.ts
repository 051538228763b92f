/** The six stages of the pipeline, as subscriptions for `mill.subscribe`. */
import type { Packs } from '../packs/load.ts';
import type { ToolRunner } from '../tools/runner.ts';
import { createFeedback } from './feedback.ts';
import { createIntake } from './intake.ts';
import { createPlaybook } from './playbook.ts';
import { createPolicy } from './policy.ts';
import type { Stage } from './stage.ts';
import { createTool } from './tool.ts';
import { createTriage } from './triage.ts';

export interface StageDependencies {
  readonly packs: Packs;
  readonly tools: ToolRunner;
}

export function createStages({ packs, tools }: StageDependencies): readonly Stage[] {
  return [
    createIntake(packs),
    createTriage(packs),
    createPolicy(packs),
    createPlaybook(packs),
    createTool(packs, tools),
    createFeedback(),
  ];
}
