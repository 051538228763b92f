/**
 * Which members are personal by their name or place: `email`, `*_email`, `customer.*.phone`,
 * `**.address.street`, `$.user` (of the root alone). Whole names are compared, upper and lower
 * case and `_` and `-` do not matter: `pin` is `PIN` and never `shipping`.
 */
import { MillraceError } from './errors.ts';
import type { PathStep } from './json-rules.ts';
import { foldName } from './secrets.ts';

/** One rule of a list, ready to compare. */
export interface FieldRule {
  /** As it was written. */
  readonly text: string;
  /** Last step first; a rule without dots holds at any depth. */
  readonly steps: readonly StepMatcher[];
  readonly anyDepth: boolean;
}

type StepMatcher = '**' | ((step: string) => boolean);

const rulesMax = 1_000;
const ruleCharsMax = 256;

/** @throws MillraceError CONFIG_INVALID naming the rule. */
export function compileFields(texts: readonly string[], where: string): readonly FieldRule[] {
  if (!Array.isArray(texts) || texts.length > rulesMax) {
    throw invalid(`${where} is not a list of at most ${rulesMax} names or paths.`);
  }
  return texts.map((text, index) => compileField(text, `${where}[${index}]`));
}

function compileField(text: string, where: string): FieldRule {
  if (typeof text !== 'string' || text.trim() === '' || text.length > ruleCharsMax) {
    throw invalid(`${where} is not a name or path of 1 to ${ruleCharsMax} characters.`);
  }
  const fromRoot = text.startsWith('$.');
  const words = text
    .slice(fromRoot ? 2 : 0)
    .replaceAll('[*]', '.*')
    .split('.');
  if (words.some((word) => word.trim() === '')) {
    throw invalid(`${where}: '${text}' has an empty step.`);
  }
  if (words.at(-1) === '**') {
    throw invalid(`${where}: '${text}' ends in **; name the members below it, or end in *.`);
  }
  const steps = words.map((word): StepMatcher => (word === '**' ? '**' : compileStep(word)));
  return { text, steps: steps.reverse(), anyDepth: words.length === 1 && !fromRoot };
}

/** `*` stands for any characters within one step. */
function compileStep(word: string): (step: string) => boolean {
  if (word === '*') return () => true;
  const parts = word.split('*').map(foldName);
  const [first = '', ...rest] = parts;
  if (rest.length === 0) return (step) => step === first;
  const last = rest.pop() as string;
  return (step) => {
    if (step.length < first.length + last.length) return false;
    if (!step.startsWith(first) || !step.endsWith(last)) return false;
    let from = first.length;
    const end = step.length - last.length;
    for (const part of rest) {
      const found = step.indexOf(part, from);
      if (found === -1 || found + part.length > end) return false;
      from = found + part.length;
    }
    return true;
  };
}

/** Whether the last step of the rule is this name; a rule of one step is decided by it. */
export function mayEndIn({ steps }: FieldRule, foldedName: string): boolean {
  return (steps[0] as (step: string) => boolean)(foldedName);
}

/** @param path from the root to the value, the value's own step last. */
export function matchesPath(rule: FieldRule, path: readonly PathStep[]): boolean {
  return rule.anyDepth || matchesFrom(rule.steps, 0, path, path.length - 1);
}

/** Backwards from the value to the root; a rule has few steps, so trying each is cheap. */
function matchesFrom(
  steps: readonly StepMatcher[],
  at: number,
  path: readonly PathStep[],
  depth: number,
): boolean {
  let left = depth;
  for (let i = at; i < steps.length; i += 1) {
    const step = steps[i] as StepMatcher;
    if (step === '**') {
      for (let rest = left; rest >= -1; rest -= 1) {
        if (matchesFrom(steps, i + 1, path, rest)) return true;
      }
      return false;
    }
    if (left < 0 || !step(foldName(String(path[left])))) return false;
    left -= 1;
  }
  return left === -1;
}

function invalid(message: string): MillraceError {
  return new MillraceError('CONFIG_INVALID', message, {
    fix: 'Write a name (email), one with * (*_email) or a path (customer.*.phone, $.user).',
  });
}
