/** `millrace template …`: task templates checked, shown and drawn. Needs no database. */
import type { Command } from 'commander';
import type { GraphNode } from '../../core/workflow/graph.ts';
import type { CompiledStep, CompiledTemplate } from '../../core/workflow/template.ts';
import type { LocatedProblem } from '../../core/workflow/template-problems.ts';
import { templateError } from '../../core/workflow/template-problems.ts';
import { checkTemplateFiles, loadTemplates } from '../../workflows/template/load.ts';
import { storedTemplate } from '../../workflows/template/stored-template.ts';
import { drawTemplate } from '../../workflows/template/template-graph.ts';
import { colors as pc } from '../colors.ts';
import { exitCodes, usage } from '../failure.ts';
import { type Io, line, printJson } from '../io.ts';
import type { Cli } from '../options.ts';
import { type Cell, fields, printable, table } from '../table.ts';

interface TemplateFlags {
  readonly environment?: string;
  readonly json?: boolean;
}

export function addTemplate(program: Command, cli: Cli): void {
  const template = program.command('template').description('workflows declared in YAML');
  const one = (name: string, description: string, argument: string, what: string) =>
    template
      .command(name)
      .description(description)
      .argument(argument, what)
      .option('-e, --environment <name>', 'with the overrides of an environment')
      .option('--json', 'print one JSON document');
  one(
    'check',
    'say everything that is wrong',
    '<files...>',
    'files, directories or patterns',
  ).action((files: string[], flags: TemplateFlags) => check(files, flags, cli));
  one('show', 'one template, compiled', '<file>', 'a template').action(
    (file: string, flags: TemplateFlags) => show(file, flags, cli),
  );
  one('graph', 'its steps as a Mermaid flowchart', '<file>', 'a template').action(
    (file: string, flags: TemplateFlags) => graph(file, flags, cli),
  );
}

async function check(files: string[], flags: TemplateFlags, cli: Cli): Promise<void> {
  const { io } = cli;
  const { templates, problems } = await checkTemplateFiles(files, flags);
  if (problems.length > 0) cli.exitCode = exitCodes.failure;
  if (flags.json) {
    const good = templates.map(({ file, template }) => ({ file, ...summaryOf(template) }));
    return printJson(io, { ok: problems.length === 0, templates: good, problems });
  }
  for (const { file, template } of templates) {
    const { namespace, name, version, steps } = template;
    const id = pc.bold(`${namespace}/${name}@${version}`);
    line(io.stdout, `${pc.green('ok')} ${file}  ${id}  ${count(steps.length, 'step')}`);
  }
  for (const problem of problems) printProblem(io, problem);
  if (problems.length === 0) return;
  const broken = new Set(problems.map(({ file }) => file)).size;
  const sum = `${count(problems.length, 'problem')} in ${count(broken, 'file')}`;
  line(io.stderr, `${pc.red('error')} ${pc.bold(sum)}  ${pc.dim('[TEMPLATE_INVALID]')}`);
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}

function printProblem({ stdout }: Io, problem: LocatedProblem): void {
  const { file, line: at, column, path, message, hint } = problem;
  const field = path === '' ? '' : `${pc.bold(printable(path))}: `;
  line(stdout, `${pc.red('wrong')} ${file}:${at}:${column}  ${field}${printable(message)}`);
  if (hint !== null) line(stdout, `  ${pc.dim('fix')} ${printable(hint)}`);
}

async function loadOne(file: string, { environment }: TemplateFlags): Promise<CompiledTemplate> {
  const templates = await loadTemplates(file, { environment });
  const [template] = templates;
  if (template === undefined) throw templateError([]);
  if (templates.length === 1) return template;
  throw usage(`${file} leads to ${templates.length} templates.`, 'Name one file.');
}

function summaryOf(template: CompiledTemplate) {
  const { namespace, name, version, environment, steps, graph: compiled } = template;
  const { hash } = storedTemplate(template);
  const { depth } = compiled;
  return { namespace, name, version, hash, environment, steps: steps.length, depth };
}

async function show(file: string, flags: TemplateFlags, { io }: Cli): Promise<void> {
  const template = await loadOne(file, flags);
  const { steps, ...summary } = summaryOf(template);
  if (flags.json) {
    const stored = JSON.parse(template.canonicalJson) as object;
    return printJson(io, { hash: summary.hash, depth: summary.depth, ...stored });
  }
  const { lifecycle, keyPath, limits, keyLimits } = template;
  const entries: [string, Cell][] = [
    ...Object.entries(summary),
    ['steps', steps],
    ['description', template.description],
    ['identity', template.identity],
    ['priority', template.priority],
    ['concurrency key', keyPath?.join('.')],
    ['limits', limits && JSON.stringify(limits)],
    ['limits of a key', keyLimits && JSON.stringify(keyLimits)],
    ['stale after', lifecycle.maxDurationMinutes && `${lifecycle.maxDurationMinutes} min`],
  ];
  line(io.stdout, fields(entries));
  const rows = template.graph.order.map((no) => {
    const step = template.steps[no] as CompiledStep;
    const { createdAtStart, depth } = template.graph.nodes[no] as GraphNode;
    const started = createdAtStart ? 'start' : 'outcome';
    const { handler, retry, timeoutMs } = step;
    const wait = retry.backoff === 'none' ? '' : ` ${retry.backoff} ${retry.backoffBaseMs} ms`;
    const tries = retry.maxAttempts === 1 ? '1' : `${retry.maxAttempts}${wait}`;
    const callable = handler.method ? `${handler.callable}#${handler.method}` : handler.callable;
    const after = step.dependencies.join(', ');
    const timeout = timeoutMs === 0 ? null : `${timeoutMs / 1_000} s`;
    return [depth, step.name, step.type, callable, after, started, tries, timeout];
  });
  const head = ['depth', 'step', 'type', 'handler', 'after', 'created at', 'tries', 'timeout'];
  line(io.stdout, table(head, rows, 40));
  const published = template.steps.flatMap(({ name, publishesEvents }) =>
    publishesEvents.map((event): Cell[] => [
      event.name,
      name,
      event.condition,
      event.delivery ?? 'as configured',
      event.schema ? 'yes' : null,
    ]),
  );
  if (published.length === 0) return;
  line(io.stdout, table(['event', 'step', 'condition', 'delivery', 'schema'], published));
}

async function graph(file: string, flags: TemplateFlags, { io }: Cli): Promise<void> {
  const mermaid = drawTemplate(await loadOne(file, flags));
  if (flags.json) return printJson(io, { mermaid });
  line(io.stdout, mermaid);
}
