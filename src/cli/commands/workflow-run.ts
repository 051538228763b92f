/**
 * `millrace workflow run NAME`: starts a run, and with the workflow's definition works until it
 * ends, showing steps as they go. `workflow work`: works on whatever waits, until Ctrl-C.
 */
import type { Command } from 'commander';
import { parseJson } from '../../core/json.ts';
import type { TaskDetailsDocument } from '../../http/workflow-documents.ts';
import type { AnyWorkflowDefinition } from '../../workflows/definition.ts';
import { colors as pc } from '../colors.ts';
import { loadDefinitions, withDefinitions } from '../definitions.ts';
import { usage } from '../failure.ts';
import { type FollowFlags, followRun } from '../follow.ts';
import { hint } from '../hint.ts';
import { type Io, inputText, line, printJson } from '../io.ts';
import { type Cli, integer, placeOf } from '../options.ts';
import { type Api, openApi } from '../platform.ts';
import { withTenant } from '../workflow-flags.ts';

interface RunFlags extends FollowFlags {
  readonly input: string;
  readonly key?: string;
  readonly version?: string;
  readonly priority?: string;
  readonly wait?: boolean;
}

export function addWorkflowRun(workflow: Command, cli: Cli): void {
  withDefinitions(withTenant(workflow.command('run')))
    .description('start a run; with its definition, work until it ends')
    .argument('[name]', 'name of the workflow; not needed where there is only one')
    .option('--input <json>', 'JSON, or @file, or - for standard input', '{}')
    .option('--key <key>', 'idempotency key: at most one run has it')
    .option('--version <version>', 'the newest by default')
    .option('--namespace <namespace>', 'where the name is not enough')
    .option('--priority <n>', 'smaller runs first')
    .option('--wait', 'until it ends; by default where a definition is given')
    .option('--no-wait', 'only start it')
    .option('--timeout <seconds>', 'wait so long at most', integer(1, 31_536_000))
    .action((name: string | undefined, flags: RunFlags) => run(name, flags, cli));
  withDefinitions(withTenant(workflow.command('work')))
    .description('work on runs of these definitions until Ctrl-C')
    .action((flags: RunFlags) => work(flags, cli));
}

async function run(given: string | undefined, flags: RunFlags, cli: Cli): Promise<void> {
  const { io } = cli;
  const definitions = await loadDefinitions(flags);
  const name = given ?? onlyNameOf(definitions);
  const { tenant, key, version, namespace, priority } = flags;
  const input = parseJson(await inputText(flags.input, io.stdin));
  const api = await openApi(placeOf(flags), { workflows: definitions ?? [] });
  try {
    const started = await api.post<TaskDetailsDocument>('/v1/tasks', {
      tenant,
      body: {
        name,
        input,
        version,
        namespace,
        idempotency_key: key,
        priority: priority === undefined ? undefined : Number(priority),
      },
    });
    const { task_uuid: runId } = started;
    const wait = flags.wait ?? definitions !== null;
    if (!flags.json) line(io.stdout, `started ${pc.bold(runId)}`);
    if (!wait) {
      if (flags.json) return printJson(io, started);
      return line(io.stdout, hint(io, `workflow why ${runId}`, flags));
    }
    await followRun(api, runId, flags, cli);
  } finally {
    await api.close();
  }
}

function onlyNameOf(definitions: readonly AnyWorkflowDefinition[] | null): string {
  const names = [...new Set(definitions?.map((one) => `${one.namespace}/${one.name}`) ?? [])];
  const [only, ...others] = names;
  if (only !== undefined && others.length === 0) return only;
  if (only === undefined) {
    throw usage(
      'No workflow was named.',
      'For example: millrace workflow run hello --definitions examples/workflows/hello.ts',
    );
  }
  throw usage(`Which one? There are ${names.join(', ')}.`, `millrace workflow run ${only} …`);
}

async function work(flags: RunFlags, cli: Cli): Promise<void> {
  const { io } = cli;
  const definitions = await loadDefinitions(flags);
  if (definitions === null) {
    throw usage('--definitions is missing.', 'Name the workflows: --definitions ./workflows.ts');
  }
  const api = await openApi(placeOf(flags), { workflows: definitions });
  try {
    sayWork(io, api, definitions);
    if (api.url !== null) return;
    await new Promise<void>((resolve) => {
      if (io.signal.aborted) resolve();
      else io.signal.addEventListener('abort', () => resolve(), { once: true });
    });
  } finally {
    await api.close();
  }
}

function sayWork(io: Io, api: Api, definitions: readonly AnyWorkflowDefinition[]): void {
  if (api.url !== null) {
    throw usage(
      `A server works here already: ${api.url}.`,
      'Start it with these definitions: millrace start --definitions <file>',
    );
  }
  for (const { namespace, name, version, kind } of definitions) {
    line(io.stderr, `working on ${pc.bold(`${namespace}/${name}@${version}`)} ${pc.dim(kind)}`);
  }
  line(io.stderr, pc.dim('  Ctrl-C stops'));
}
