/** Everything that is wrong with templates, as one error that people can work through. */
import { MillraceError } from '../errors.ts';
import type { TemplateProblem } from './graph.ts';
import type { Place } from './template-field.ts';

/** As `details.problems` of TEMPLATE_INVALID has them. Null: the template is not from a file. */
export interface LocatedProblem {
  readonly file: string | null;
  /** Both from 1. */
  readonly line: number | null;
  readonly column: number | null;
  /** `steps[2].retry.max_attempts`; '' is the whole template. */
  readonly path: string;
  readonly message: string;
  readonly hint: string | null;
}

/** Names with a dash are words in YAML: `x-retries.backoff`, `steps[0].input`, `a["b c"]`. */
export function pathText(path: Place): string {
  const text = path.reduce<string>((before, part) => {
    if (typeof part === 'number') return `${before}[${part}]`;
    return /^[\w$-]+$/.test(part) ? `${before}.${part}` : `${before}[${JSON.stringify(part)}]`;
  }, '');
  return text.replace(/^\./, '');
}

/** Of a template that a program wrote: paths must do. */
export function withoutPlace({ path, message, hint }: TemplateProblem): LocatedProblem {
  return { file: null, line: null, column: null, path: pathText(path), message, hint };
}

const shownMax = 50;

/** `orders.yaml:12:5 steps[1].retry.limit: is not a known field. Write max_attempts.` */
export function describeProblem(problem: LocatedProblem): string {
  const { file, line, column, path, message, hint } = problem;
  const place = file === null ? '' : line === null ? `${file} ` : `${file}:${line}:${column} `;
  const field = path === '' ? '' : `${path}: `;
  return `${place}${field}${message}.${hint === null ? '' : ` ${hint}`}`;
}

export function templateError(problems: readonly LocatedProblem[]): MillraceError {
  const lines = problems.slice(0, shownMax).map(describeProblem);
  if (problems.length > shownMax) lines.push(`and ${problems.length - shownMax} more`);
  const [only = 'The template is wrong.'] = lines;
  const message =
    lines.length > 1
      ? `${problems.length} problems in templates:\n${lines.map((one) => `  ${one}`).join('\n')}`
      : only;
  return new MillraceError('TEMPLATE_INVALID', message, {
    fix:
      problems[0]?.line === null
        ? 'Correct the template at the path that the message names.'
        : undefined,
    details: { problems },
  });
}
