/** `millrace workflow cancel|pause|…`: what a run or a step of it is told to do. */
import type { Command } from 'commander';
import { parseJson } from '../../core/json.ts';
import type { TaskDocument } from '../../http/workflow-documents.ts';
import { colors as pc } from '../colors.ts';
import { withDefinitions } from '../definitions.ts';
import { followRun } from '../follow.ts';
import { hint } from '../hint.ts';
import { inputText, line, printJson } from '../io.ts';
import type { Cli } from '../options.ts';
import type { Api } from '../platform.ts';
import { withApi } from '../with-api.ts';
import { stateText, taskPath, type WorkflowFlags, withTenant } from '../workflow-flags.ts';

interface VerbFlags extends WorkflowFlags {
  readonly wait?: boolean;
  readonly result?: string;
  readonly payload?: string;
  readonly reject?: boolean;
  readonly comment?: string;
  readonly messageId?: string;
}

/** Command → what the API calls it. */
const runVerbs = {
  cancel: ['cancel', 'stop it for good: open steps are cancelled, its children too'],
  pause: ['pause', 'begin no further step of it until it is resumed'],
  resume: ['resume', 'go on with a paused run'],
  retry: ['retry', 'try what failed again; a run that ended in error is opened again'],
  reset: ['reset', 'begin anew, as if no step of it had run'],
  'give-up': ['give_up', 'let a blocked run end in error'],
  resolve: ['resolve_run', 'end it as resolved by hand, with --result if it shall have one'],
} as const;

const stepVerbs = {
  'retry-from': ['retry_from', 'do this step and all that follow it again'],
  'reset-step': ['reset_for_retry', 'try this failed step again, its tries counted anew'],
  'resolve-step': ['resolve_manually', 'let the run go on without this step'],
  'complete-step': ['complete_manually', 'say what this step returned, and go on'],
} as const;

export function addWorkflowVerbs(workflow: Command, cli: Cli): void {
  const verb = (name: string, description: string) =>
    withDefinitions(withTenant(workflow.command(name)))
      .description(description)
      .argument('<id>', 'id of the run, or its first or last digits')
      .option('--reason <text>', 'why; stands in the audit')
      .option('--by <name>', 'who says so; stands in the audit')
      .option('--wait', 'until the run ends; by default where a definition is given')
      .option('--no-wait', 'only say it');
  for (const [name, [action, description]] of Object.entries(runVerbs)) {
    const command = verb(name, description);
    if (name === 'resolve') command.option('--result <json>', 'JSON, or @file, or -');
    command.action((id: string, flags: VerbFlags) => tell(id, null, action, flags, cli));
  }
  for (const [name, [action, description]] of Object.entries(stepVerbs)) {
    const command = verb(name, description).argument('<step>', 'name or number of the step');
    if (name === 'complete-step') {
      command.requiredOption('--result <json>', 'what it returned: JSON, or @file, or -');
    }
    command.action((id: string, step: string, flags: VerbFlags) =>
      tell(id, step, action, flags, cli),
    );
  }
  withDefinitions(withTenant(workflow.command('signal')))
    .description('send a signal to a run')
    .argument('<id>')
    .argument('<name>', 'name of the signal')
    .option('--payload <json>', 'JSON, or @file, or -', 'null')
    .option('--message-id <id>', 'the same id again is delivered once')
    .action((id: string, name: string, flags: VerbFlags) => signal(id, name, flags, cli));
  withDefinitions(withTenant(workflow.command('approve')))
    .description('answer an approval that a run waits for')
    .argument('<id>')
    .argument('<step>', 'name of the approval')
    .option('--reject', 'say no')
    .option('--comment <text>')
    .option('--by <name>', 'who decides', 'operator')
    .action((id: string, step: string, flags: VerbFlags) => approve(id, step, flags, cli));
}

interface Told {
  readonly applied: boolean;
  readonly task: TaskDocument;
}

async function tell(
  id: string,
  step: string | null,
  action: string,
  flags: VerbFlags,
  cli: Cli,
): Promise<void> {
  const { tenant, reason, by } = flags;
  const { io } = cli;
  const result =
    flags.result === undefined ? undefined : parseJson(await inputText(flags.result, io.stdin));
  const body = { action_type: action, reason, by, result };
  const path =
    step === null ? taskPath(id) : `${taskPath(id)}/workflow_steps/${encodeURIComponent(step)}`;
  await withApi(flags, async (api) => {
    const answer = await api.patch<Told>(path, { tenant, body });
    if (flags.json) return printJson(io, answer);
    const { applied, task } = answer;
    const about = step === null ? '' : ` of step ${step}`;
    const state = `${pc.bold(task.task_uuid)} is ${stateText(task.state)}`;
    line(io.stdout, `${action}${about}: ${state}${applied ? '' : ', and will hear of it'}`);
    if (follows(flags) && action !== 'pause') {
      return followRun(api, task.task_uuid, flags, cli);
    }
    if (!applied) sayWhoMust(api.url, cli);
    line(io.stdout, hint(io, `workflow why ${task.task_uuid}`, flags));
  });
}

/** Who brings the workflow along wants to see what becomes of the run. */
function follows({ definitions = [], wait = definitions.length > 0 }: VerbFlags): boolean {
  return wait;
}

interface Sent {
  readonly message_id: string;
  readonly duplicate: boolean;
  readonly read: boolean;
}

async function signal(id: string, name: string, flags: VerbFlags, cli: Cli): Promise<void> {
  const { io } = cli;
  const { tenant, messageId } = flags;
  const payload = parseJson(await inputText(flags.payload ?? 'null', io.stdin));
  const body = { name, payload, id: messageId };
  await withApi(flags, async (api) => {
    const sent = await api.post<Sent>(`${taskPath(id)}/signals`, { tenant, body });
    await report(api, `signal ${name}`, sent, { id, flags, cli });
  });
}

async function approve(id: string, step: string, flags: VerbFlags, cli: Cli): Promise<void> {
  const { tenant, comment, by, reject = false } = flags;
  const body = { step, approved: !reject, by, comment };
  await withApi(flags, async (api) => {
    const sent = await api.post<Sent>(`${taskPath(id)}/approvals`, { tenant, body });
    await report(api, `${reject ? 'rejected' : 'approved'} ${step}`, sent, { id, flags, cli });
  });
}

async function report(
  api: Api,
  what: string,
  sent: Sent,
  { id, flags, cli }: { readonly id: string; readonly flags: VerbFlags; readonly cli: Cli },
): Promise<void> {
  const { io } = cli;
  if (flags.json) return printJson(io, sent);
  const how = sent.duplicate ? 'was sent before' : sent.read ? 'arrived' : 'is kept for the run';
  line(io.stdout, `${what}: ${how}`);
  if (follows(flags)) return followRun(api, id, flags, cli);
  if (!sent.read) sayWhoMust(api.url, cli);
  line(io.stdout, hint(io, `workflow why ${id}`, flags));
}

function sayWhoMust(url: string | null, { io }: Cli): void {
  const who =
    url === null
      ? 'no server runs here: it has its effect when a process works on the workflow, ' +
        'such as this command with --definitions <file>'
      : 'it has its effect when a process that knows the workflow takes the run';
  line(io.stdout, pc.dim(`  ${who}`));
}
