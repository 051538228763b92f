/**
 * What a JSON value may hold to survive a database round trip, and how faults in it are reported.
 * One place, so that `freezeJson` (values) and `parseJson` (text) refuse the same things in the
 * same words.
 */
import { MillraceError } from './errors.ts';

export interface JsonLimits {
  /** Arrays and objects inside each other. Default 64. */
  readonly depthMax?: number | undefined;
  /** Members of all objects together. Default 10,000. */
  readonly keysMax?: number | undefined;
  /** Elements of all arrays together. Default 524,288: as many as fit into 1 MiB of text. */
  readonly itemsMax?: number | undefined;
  /** What paths in messages begin with. Default `payload`. */
  readonly root?: string | undefined;
}

export const jsonLimits = {
  depthMax: 64,
  keysMax: 10_000,
  itemsMax: 524_288,
  root: 'payload',
} as const satisfies JsonLimits;

/** A member name or an array index on the way to a value. */
export type PathStep = string | number;

/** What is wrong, and where: the path is completed while the fault passes each level outwards. */
export class Fault {
  /** Innermost step first. */
  readonly path: PathStep[] = [];
  readonly problem: string;
  readonly fix: string | undefined;

  constructor(problem: string, fix?: string) {
    this.problem = problem;
    this.fix = fix;
  }
}

/** How much of a value may still come. One per call of freezeJson or parseJson. */
export class Budget {
  readonly depthMax: number;
  keysLeft: number;
  itemsLeft: number;

  constructor(limits: JsonLimits) {
    this.depthMax = limits.depthMax ?? jsonLimits.depthMax;
    this.keysLeft = limits.keysMax ?? jsonLimits.keysMax;
    this.itemsLeft = limits.itemsMax ?? jsonLimits.itemsMax;
  }

  checkDepth(depth: number): void {
    if (depth <= this.depthMax) return;
    throw new Fault(`is nested more than ${this.depthMax} levels deep`, 'Flatten the value.');
  }

  takeKey(): void {
    this.keysLeft -= 1;
    if (this.keysLeft >= 0) return;
    throw new Fault('is one object member more than allowed', 'Send fewer or smaller objects.');
  }

  takeItems(count: number): void {
    this.itemsLeft -= count;
    if (this.itemsLeft >= 0) return;
    throw new Fault('brings more array elements than allowed', 'Send fewer or shorter arrays.');
  }
}

/** Postgres text and jsonb refuse NUL, and UTF-8 has no bytes for half a surrogate pair. */
export function checkString(text: string): void {
  if (text.includes('\0')) {
    throw new Fault('holds a NUL character, which Postgres cannot store', 'Remove the NUL.');
  }
  if (!text.isWellFormed()) {
    throw new Fault(
      'holds half of a surrogate pair, so it is not Unicode text',
      'Cut strings between characters, or repair it with toWellFormed().',
    );
  }
}

export function checkName(name: string): void {
  if (name !== '__proto__') return;
  throw new Fault('has the name __proto__, which would change objects', 'Rename the member.');
}

export function checkNumber(value: number): void {
  if (!Number.isFinite(value)) throw new Fault(`is ${value}, which JSON cannot hold`);
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw new Fault('is an integer beyond 2^53 - 1, which loses digits', 'Send it as a string.');
  }
}

/** `payload.items[3]["unit price"]` */
export function formatPath(root: string, steps: readonly PathStep[]): string {
  return steps.reduce<string>((path, step) => {
    if (typeof step === 'number') return `${path}[${step}]`;
    return /^[A-Za-z_$][\w$]*$/.test(step) ? `${path}.${step}` : `${path}[${JSON.stringify(step)}]`;
  }, root);
}

/** The error people see; `where` says where in a text the value stands. */
export function notJson(
  path: string,
  problem: string,
  options: { fix?: string | undefined; where?: { line: number; column: number } },
): MillraceError {
  const { fix, where } = options;
  const place = where ? ` (line ${where.line}, column ${where.column})` : '';
  return new MillraceError('PAYLOAD_NOT_JSON', `${path} ${problem}${place}.`, {
    fix,
    details: { path, ...where },
  });
}
