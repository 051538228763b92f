/**
 * The exception pipeline put together over one Millrace: tables, stages, projection, routes. The
 * command line and tests install it; nothing else knows all of its parts.
 */
import type { Millrace } from 'millrace';
import { type Accepted, acceptExceptions, type IncomingException } from './accept.ts';
import { type ExceptionRoute, exceptionRoutes } from './http.ts';
import { loadPacks, type Packs } from './packs/load.ts';
import { redactForeignData } from './privacy.ts';
import { projection } from './projection/projection.ts';
import {
  countExceptions,
  type ExceptionCounts,
  listTenants,
  migrateProjection,
} from './projection/queries.ts';
import { type SampleFile, sampleFiles } from './sample/sample-files.ts';
import { readExceptions } from './sources/read-exceptions.ts';
import { createStages } from './stages/create-stages.ts';
import { createToolRunner } from './tools/runner.ts';

export interface ExceptionApplicationOptions {
  /** A directory of packs; those that come with the application by default. */
  readonly packs?: string;
  /** False to ask and to publish only: this process then handles no events. */
  readonly work?: boolean;
  /** False where payloads never hold personal data: they are then stored as they come. */
  readonly redaction?: boolean;
}

export interface ExceptionApplication {
  readonly packs: Packs;
  /** The groups that do the work, the projection last. */
  readonly groups: readonly string[];
  readonly routes: readonly ExceptionRoute[];
  /** The files that come with the application, for a first look. */
  readonly sample: readonly SampleFile[];
  /** Reads files and streams into what `accept` takes. */
  readonly read: typeof readExceptions;
  accept(tenantId: string, items: readonly IncomingException[]): Promise<readonly Accepted[]>;
  tenants(): Promise<readonly string[]>;
  counts(tenants: readonly string[]): Promise<ExceptionCounts>;
}

/** Migrates, subscribes the six stages and the projection; `mill.start()` then begins the work. */
export async function installExceptions(
  mill: Millrace,
  options: ExceptionApplicationOptions = {},
): Promise<ExceptionApplication> {
  const packs = loadPacks(options.packs);
  if (options.redaction !== false) redactForeignData(mill, packs);
  await migrateProjection(mill.store);
  const stages = createStages({ packs, tools: createToolRunner() });
  if (options.work !== false) {
    for (const stage of stages) mill.subscribe(stage);
    mill.subscribe(projection);
  }
  return {
    packs,
    groups: [...stages.map(({ group }) => group), projection.group],
    routes: exceptionRoutes(mill, packs),
    sample: sampleFiles,
    read: readExceptions,
    accept: (tenantId, items) => acceptExceptions(mill, tenantId, items),
    tenants: () => listTenants(mill),
    counts: (tenants) => countExceptions(mill, tenants),
  };
}
