/**
 * Who may import whom: core → ports → runtime → events, jobs → brokers → workflows →
 * configuration → telemetry → the face → faces → http → cli. A folder imports from its left only.
 * Drivers are leaves; apps, benches, examples use it.
 */
import type { Import, SourceFile, Violation } from './source-tree.ts';

/** Place in the order; neighbours with the same number do not import each other. */
const rank: Readonly<Record<string, number>> = {
  core: 0,
  ports: 1,
  runtime: 2,
  events: 3,
  jobs: 3,
  brokers: 3.5, // relay, feed and inlet: the log and an outside broker
  workflows: 4,
  configuration: 4.2, // files and variables, as one typed object
  telemetry: 4.5, // what happens in runs as spans and numbers
  face: 5, // the files of src itself: index.ts, millrace.ts, connect.ts
  faces: 6, // names that a requirement fixed, thin on what is to the left
  http: 7,
  cli: 8,
};

/** Folders whose dependencies are argued one by one: none. */
const withoutPackages = new Set(['core', 'ports', 'runtime', 'events']);
const users = /^(apps|bench|examples)\//;

export function checkLayers(files: readonly SourceFile[]): Violation[] {
  const violations: Violation[] = [];
  for (const file of files) {
    if (file.isTest) continue;
    for (const one of file.imports) {
      const problem = problemOf(file.path, one);
      if (problem === null) continue;
      violations.push({ path: file.path, line: one.line, rule: 'layers', problem });
    }
  }
  return violations;
}

function problemOf(from: string, one: Import): string | null {
  if (users.test(from)) {
    if (one.target === null || !one.target.startsWith('src/')) return null;
    return `imports ${one.target}: users of Millrace import it by name, from 'millrace'`;
  }
  if (!from.startsWith('src/')) return null;
  const layer = layerOf(from);
  if (one.target === null) return packageProblem(layer, one.specifier);
  if (!one.target.startsWith('src/')) return `imports ${one.target}, which is not in src`;
  return targetProblem(from, layer, one);
}

function packageProblem(layer: string, specifier: string): string | null {
  if (specifier.startsWith('node:')) {
    return layer === 'core' ? `core is pure and imports no ${specifier}` : null;
  }
  return withoutPackages.has(layer) ? `${layer} imports no package, such as ${specifier}` : null;
}

function targetProblem(from: string, layer: string, one: Import): string | null {
  const target = one.target as string;
  const other = layerOf(target);
  if (layer === other) return null;
  if (layer.startsWith('drivers/')) {
    const allowed = other === 'core' || other === 'ports';
    return allowed ? null : `a driver imports core and ports, not ${target}`;
  }
  if (other.startsWith('drivers')) {
    if (from === 'src/connect.ts' && one.dynamic) return null;
    return `imports ${target}: only src/connect.ts names drivers, by import()`;
  }
  if (from === 'src/index.ts') return null;
  const [own, its] = [rank[layer], rank[other]];
  if (own === undefined) return `src/${layer} has no place in the order of layers (layer-rules.ts)`;
  if (its !== undefined && its < own) return null;
  return `${layer} may not import ${other} (${target}): imports go to the left only`;
}

function layerOf(filePath: string): string {
  const parts = filePath.split('/').slice(1, -1);
  if (parts.length === 0) return 'face';
  return parts[0] === 'drivers' ? parts.slice(0, 2).join('/') : (parts[0] as string);
}

/** Cycles of run-time imports: with them, what a module sees depends on who was loaded first. */
export function checkCycles(files: readonly SourceFile[]): Violation[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const done = new Set<string>();
  const violations: Violation[] = [];
  const walk = (file: SourceFile, trail: readonly string[]): void => {
    const start = trail.indexOf(file.path);
    if (start >= 0) {
      const problem = [...trail.slice(start), file.path].join(' → ');
      violations.push({ path: file.path, line: 1, rule: 'cycles', problem });
      return;
    }
    if (done.has(file.path)) return;
    for (const { target, atRunTime, dynamic } of file.imports) {
      const next = target === null || !atRunTime || dynamic ? undefined : byPath.get(target);
      if (next !== undefined) walk(next, [...trail, file.path]);
    }
    done.add(file.path);
  };
  for (const file of files) walk(file, []);
  return violations;
}
