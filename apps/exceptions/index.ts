/** The exception pipeline, an application on Millrace: its events, stages, packs and queries. */
export { type Accepted, acceptExceptions, type IncomingException } from './accept.ts';
export {
  type ExceptionApplication,
  type ExceptionApplicationOptions,
  installExceptions,
} from './application.ts';
export { type ClockState, type DueEvent, dueEvents } from './clock.ts';
export {
  type Command,
  executeTool,
  recalculatePlaybook,
  reprocess,
  type ToolCall,
  type WaitingState,
} from './commands.ts';
export { type DryRun, dryRun, type TrialInput, tryException } from './dry-run.ts';
export * from './events.ts';
export { compilePacks, defaultPackDirectory, loadPacks, type Packs } from './packs/load.ts';
export { redactForeignData } from './privacy.ts';
export { projection } from './projection/projection.ts';
export { migrateProjection } from './projection/queries.ts';
export { type ExceptionState, projectException, type Waiting } from './projection.ts';
export { type SampleFile, sampleFiles } from './sample/sample-files.ts';
export { type ReadBatch, type ReadOptions, readExceptions } from './sources/read-exceptions.ts';
export { createStages, type StageDependencies } from './stages/create-stages.ts';
export type { EventWith, PayloadOf, Stage, StageContext } from './stages/stage.ts';
export type { ToolOutcome } from './tools/outcome.ts';
export { createToolRunner, type ToolRunner } from './tools/runner.ts';
export * from './vocabulary.ts';
