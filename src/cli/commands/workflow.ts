/** `millrace workflow …`: run workflows, look at runs, ask why, tell them something. */
import type { Command } from 'commander';
import type {
  StepDocument,
  TaskDetailsDocument,
  TaskDocument,
} from '../../http/workflow-documents.ts';
import { colors as pc } from '../colors.ts';
import { commandText, hint, quote } from '../hint.ts';
import { line, printJson } from '../io.ts';
import { type Cli, integer } from '../options.ts';
import { type Cell, fields, printable, table } from '../table.ts';
import { withApi } from '../with-api.ts';
import {
  runFilterOf,
  stateText,
  stepColumns,
  stepRow,
  taskColumns,
  taskPath,
  taskRow,
  tookText,
  type WorkflowFlags,
  withRunFilter,
  withTenant,
} from '../workflow-flags.ts';
import { addWorkflowDesk } from './workflow-desk.ts';
import { addWorkflowRun } from './workflow-run.ts';
import { addWorkflowVerbs } from './workflow-verbs.ts';

export function addWorkflow(program: Command, cli: Cli): void {
  const workflow = program
    .command('workflow')
    .alias('workflows')
    .description('run workflows, look at runs, and decide about them');
  addWorkflowRun(workflow, cli);
  withRunFilter(workflow.command('list'))
    .description('runs by filter, newest first')
    .option('--limit <n>', 'runs at most', integer(1, 1_000), 50)
    .option('--after <cursor>', 'continue after a page')
    .action((flags: WorkflowFlags) => list(flags, cli));
  const one = (name: string, description: string) =>
    withTenant(workflow.command(name))
      .description(description)
      .argument('<id>', 'id of the run, or its first or last digits');
  one('show', 'one run, whole').action((id: string, flags: WorkflowFlags) => show(id, flags, cli));
  one('why', 'what holds a run up, and the command that clears it').action(
    (id: string, flags: WorkflowFlags) => why(id, flags, cli),
  );
  one('steps', 'its steps, as they stand').action((id: string, flags: WorkflowFlags) =>
    steps(id, flags, cli),
  );
  one('step', 'one step, with its transitions')
    .argument('<step>', 'name or number of the step')
    .action((id: string, step: string, flags: WorkflowFlags) => showStep(id, step, flags, cli));
  one('audit', 'every transition of the run and its steps, in order').action(
    (id: string, flags: WorkflowFlags) => audit(id, flags, cli),
  );
  one('visualize', 'a Mermaid drawing of the run').action((id: string, flags: WorkflowFlags) =>
    visualize(id, flags, cli),
  );
  addWorkflowVerbs(workflow, cli);
  addWorkflowDesk(workflow, cli);
}

interface Page<T> {
  readonly items: readonly T[];
  readonly next: string | null;
}

/** A page may be short because the store looked long enough: so many are asked for at most. */
const pagesMax = 20;

async function list(flags: WorkflowFlags, { io }: Cli): Promise<void> {
  const { tenant, limit } = flags;
  await withApi(flags, async (api) => {
    const items: TaskDocument[] = [];
    let after = flags.after;
    let next: string | null = null;
    for (let pages = 0; pages < pagesMax; pages += 1) {
      const query = { ...runFilterOf(flags), limit: limit - items.length, after };
      const page = await api.get<Page<TaskDocument>>('/v1/tasks', { tenant, query });
      items.push(...page.items);
      next = page.next;
      if (next === null || items.length >= limit) break;
      after = next;
    }
    if (flags.json) return printJson(io, { items, next });
    if (items.length === 0 && next === null) {
      line(io.stdout, 'There are no such runs.');
      return line(io.stdout, hint(io, 'workflow run --help', flags));
    }
    line(io.stdout, table(taskColumns, items.map(taskRow)));
    const [first] = items;
    if (first) line(io.stdout, hint(io, `workflow why ${first.task_uuid}`, flags));
    if (next !== null) line(io.stdout, pc.dim(`  there are more: --after ${next}`));
  });
}

async function show(id: string, flags: WorkflowFlags, { io }: Cli): Promise<void> {
  const { tenant } = flags;
  await withApi(flags, async (api) => {
    const task = await api.get<TaskDetailsDocument>(taskPath(id), { tenant });
    if (flags.json) return printJson(io, task);
    const { input, result, metadata, error, notes, parent, workflow_steps, ...rest } = task;
    const more: [string, Cell][] = [
      ['parent', parent && `${parent.task_uuid}, step ${parent.step}`],
      ['error', error && `${error.message}${error.code === null ? '' : ` [${error.code}]`}`],
    ];
    const told = ([, value]: readonly [string, unknown]) => value !== null && value !== '';
    line(io.stdout, fields([...Object.entries(rest), ...more].filter(told) as [string, Cell][]));
    for (const [name, document] of Object.entries({ input, result, metadata, notes })) {
      if (document === null || isEmpty(document)) continue;
      line(io.stdout, `  ${pc.dim(name)}\n${JSON.stringify(document, null, 2)}`);
    }
    if (workflow_steps.length > 0) line(io.stdout, table(stepColumns, workflow_steps.map(stepRow)));
    line(io.stdout, hint(io, `workflow why ${task.task_uuid}`, flags));
  });
}

function isEmpty(document: unknown): boolean {
  return typeof document === 'object' && document !== null && Object.keys(document).length === 0;
}

interface WhyDocument {
  readonly task_uuid: string;
  readonly workflow: string;
  readonly state: string;
  readonly reasons: readonly { readonly text: string; readonly command: string | null }[];
}

async function why(id: string, flags: WorkflowFlags, { io }: Cli): Promise<void> {
  const { tenant } = flags;
  await withApi(flags, async (api) => {
    const answer = await api.get<WhyDocument>(`${taskPath(id)}/why`, { tenant });
    if (flags.json) return printJson(io, answer);
    const { task_uuid: runId, workflow, state, reasons } = answer;
    line(io.stdout, `${pc.bold(runId)} (${workflow}) is ${stateText(state)}`);
    for (const { text, command } of reasons) {
      line(io.stdout, `  ${printable(text)}`);
      if (command !== null) line(io.stdout, `    ${pc.cyan(commandText(io, command, flags))}`);
    }
  });
}

async function steps(id: string, flags: WorkflowFlags, { io }: Cli): Promise<void> {
  const { tenant } = flags;
  await withApi(flags, async (api) => {
    const path = `${taskPath(id)}/workflow_steps`;
    const { items } = await api.get<{ items: StepDocument[] }>(path, { tenant });
    if (flags.json) return printJson(io, { items });
    if (items.length === 0) line(io.stdout, 'It has no steps yet.');
    else line(io.stdout, table(stepColumns, items.map(stepRow)));
    line(io.stdout, hint(io, `workflow why ${items[0]?.task_uuid ?? id}`, flags));
  });
}

interface AuditRow {
  readonly seq: number;
  readonly step: string | null;
  readonly from: string | null;
  readonly to: string;
  readonly at: string;
  readonly by: string;
  readonly reason: string | null;
}

const auditColumns = ['seq', 'step', 'from', 'to', 'at', 'by', 'reason'];
const auditRow = ({ seq, step, from, to, at, by, reason }: AuditRow): Cell[] => [
  seq,
  step ?? '(the run)',
  from,
  to,
  at,
  by,
  reason,
];

async function showStep(id: string, name: string, flags: WorkflowFlags, { io }: Cli) {
  const { tenant } = flags;
  await withApi(flags, async (api) => {
    const path = `${taskPath(id)}/workflow_steps/${encodeURIComponent(name)}`;
    const step = await api.get<StepDocument & { audit: AuditRow[] }>(path, { tenant });
    if (flags.json) return printJson(io, step);
    const {
      audit: rows,
      inputs,
      result,
      checkpoint,
      error,
      depends_on,
      duration_ms,
      ...rest
    } = step;
    const more: [string, Cell][] = [
      ['depends on', depends_on.join(', ')],
      ['took', duration_ms === null ? null : tookText(duration_ms)],
      ['error', error && `${error.message}${error.code === null ? '' : ` [${error.code}]`}`],
    ];
    const told = ([, value]: readonly [string, unknown]) => value !== null && value !== '';
    line(io.stdout, fields([...Object.entries(rest), ...more].filter(told) as [string, Cell][]));
    for (const [title, document] of Object.entries({ inputs, result, checkpoint })) {
      if (document === null) continue;
      line(io.stdout, `  ${pc.dim(title)}\n${JSON.stringify(document, null, 2)}`);
    }
    line(io.stdout, table(auditColumns, rows.map(auditRow)));
    const { task_uuid: runId, state } = step;
    const next = state === 'error' ? `reset-step ${runId} ${quote(step.name)}` : `why ${runId}`;
    line(io.stdout, hint(io, `workflow ${next}`, flags));
  });
}

async function audit(id: string, flags: WorkflowFlags, { io }: Cli): Promise<void> {
  const { tenant } = flags;
  await withApi(flags, async (api) => {
    const { items } = await api.get<{ items: AuditRow[] }>(`${taskPath(id)}/audit`, { tenant });
    if (flags.json) return printJson(io, { items });
    line(io.stdout, table(auditColumns, items.map(auditRow)));
  });
}

async function visualize(id: string, flags: WorkflowFlags, { io }: Cli): Promise<void> {
  const { tenant } = flags;
  await withApi(flags, async (api) => {
    const answer = await api.get<{ mermaid: string }>(`${taskPath(id)}/visualize`, { tenant });
    if (flags.json) return printJson(io, answer);
    io.stdout.write(answer.mermaid);
  });
}
