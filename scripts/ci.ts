/**
 * Everything a change must pass, the same here and in CI: `npm run ci [-- step…]`.
 *
 * Steps run in order, quick ones first; the first failure ends the run with a hint of what to do.
 * A step is quiet while it is fine; the tests always show themselves.
 */
import { spawnSync } from 'node:child_process';
import * as path from 'node:path';

interface Step {
  readonly name: string;
  /** Programs are those of node_modules/.bin or node itself. */
  readonly command: readonly string[];
  readonly hint: string;
  readonly loud?: boolean;
}

const node = process.execPath;
const programs = path.resolve('node_modules/.bin');
const steps: readonly Step[] = [
  {
    name: 'lint',
    command: ['biome', 'check', '--error-on-warnings', '.'],
    hint: 'npm run format mends the layout; npx biome check --write . what else it safely can.',
  },
  {
    name: 'types',
    command: ['tsc', '-p', 'tsconfig.json'],
    hint: 'npm run typecheck',
  },
  {
    name: 'tidy',
    command: [node, '--test', 'test/tidy.test.ts'],
    hint: 'npm test -- tidy; the rules are in test/tidy, exceptions in test/tidy.test.ts.',
  },
  {
    name: 'generated',
    command: [node, 'scripts/generate.ts', '--check'],
    hint: 'npm run generate, and commit what it wrote.',
  },
  {
    name: 'unused',
    command: ['knip'],
    hint: 'Remove what nothing uses, or name its entry in knip.json.',
  },
  {
    name: 'scripts',
    command: ['bash', '-n', 'scripts/services.sh', '.ci/run'],
    hint: 'The shell scripts do not parse.',
  },
  {
    name: 'tests', // the examples are among them: test/examples.int.test.ts
    command: [node, 'scripts/test.ts', '--coverage'],
    hint: 'npm test -- <part of a path> runs one of them.',
    loud: true,
  },
  {
    name: 'package',
    command: [node, 'scripts/check-package.ts'],
    hint: 'node scripts/check-package.ts; exports and files are in package.json.',
  },
];

function main(names: readonly string[]): number {
  const unknown = names.find((name) => !steps.some((step) => step.name === name));
  if (unknown !== undefined) {
    console.error(`no step '${unknown}'; there are: ${steps.map(({ name }) => name).join(', ')}`);
    return 2;
  }
  for (const step of steps) {
    if (names.length > 0 && !names.includes(step.name)) continue;
    const started = performance.now();
    const passed = runStep(step);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(`${passed ? '✔' : '✖'} ${step.name} (${seconds} s)`);
    if (!passed) {
      console.log(`  ${step.hint}`);
      return 1;
    }
  }
  return 0;
}

function runStep({ command, loud = false }: Step): boolean {
  const [program = '', ...args] = command;
  const result = spawnSync(program, args, {
    stdio: loud ? 'inherit' : ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    env: { ...process.env, PATH: [programs, process.env.PATH].join(path.delimiter) },
    maxBuffer: 64 * 1024 * 1024,
  });
  if (result.status === 0) return true;
  if (!loud) console.log(`${result.stdout ?? ''}${result.stderr ?? ''}`.trim());
  if (result.error !== undefined) console.log(result.error.message);
  return false;
}

process.exitCode = main(process.argv.slice(2));
