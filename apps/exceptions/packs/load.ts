/**
 * Loads every pack of a directory: `domains/*.yaml` and `tenants/*.yaml`. Packs are read once, at
 * the start; a change needs a restart, and then every process of a deployment has the same ones.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MillraceError } from 'millrace';
import { compileScope } from './compile.ts';
import type { Scope } from './compiled.ts';
import { type DomainPack, domainPackSchema, policyPackSchema } from './schema.ts';
import { type PackSource, readPack } from './source.ts';
import { suggest } from './suggest.ts';

export interface Packs {
  /** Domain names, sorted. */
  readonly domains: readonly string[];
  /** Tenants with a policy of their own, sorted, without `*`. */
  readonly tenants: readonly string[];
  /** The domain's pack under the tenant's policy (or the policy of `*`); undefined if unknown. */
  scope(tenantId: string, domain: string): Scope | undefined;
  /** Like scope, but an unknown domain is a NOT_FOUND error that names those there are. */
  requireScope(tenantId: string, domain: string): Scope;
}

/** The packs that come with the application: beside this file, or beside its source when built. */
export const defaultPackDirectory: string =
  ['.', '../../../../apps/exceptions/packs']
    .map((path) => fileURLToPath(new URL(path, import.meta.url)))
    .find((path) => existsSync(join(path, 'domains'))) ?? 'packs';

export interface PackFile {
  readonly file: string;
  readonly text: string;
}

/** Reads and compiles a directory. Throws PACK_INVALID or EXPRESSION_INVALID, naming the place. */
export function loadPacks(directory: string = defaultPackDirectory): Packs {
  return compilePacks(readYaml(directory, 'domains', true), readYaml(directory, 'tenants', false));
}

function readYaml(directory: string, folder: string, required: boolean): PackFile[] {
  const path = join(directory, folder);
  let names: string[];
  try {
    names = readdirSync(path);
  } catch (cause) {
    if (!required) return [];
    throw new MillraceError('PACK_INVALID', `no packs in ${path}`, {
      cause,
      fix: 'Name a directory with a folder `domains` that holds one YAML file per domain.',
    });
  }
  return names
    .filter((name) => /\.ya?ml$/.test(name))
    .sort()
    .map((name) => {
      const file = join(path, name);
      const shown = relative(process.cwd(), file);
      return { file: shown.startsWith('..') ? file : shown, text: readFileSync(file, 'utf8') };
    });
}

/** Compiles pack texts; loadPacks without the file system. */
export function compilePacks(
  domainFiles: readonly PackFile[],
  policyFiles: readonly PackFile[],
): Packs {
  const domains = new Map<string, PackSource<DomainPack>>();
  for (const { file, text } of domainFiles) {
    const source = readPack(file, text, domainPackSchema);
    const { domainName } = source.value;
    if (domains.has(domainName)) source.complain(['domainName'], `'${domainName}' is used twice`);
    source.finish();
    domains.set(domainName, source);
  }
  const scopes = new Map<string, Map<string, Scope>>();
  const tenants = new Set<string>();
  for (const { file, text } of policyFiles) {
    const source = readPack(file, text, policyPackSchema);
    const { domainName, tenantId } = source.value;
    const domain = domains.get(domainName);
    if (domain === undefined) {
      const hint = suggest(domainName, domains.keys());
      source.complain(['domainName'], `there is no domain pack '${domainName}'${hint}`);
    }
    const ofDomain = scopes.get(domainName) ?? new Map<string, Scope>();
    if (ofDomain.has(tenantId)) {
      source.complain(['tenantId'], `'${tenantId}' has a policy for ${domainName} already`);
    }
    source.finish();
    scopes.set(domainName, ofDomain);
    ofDomain.set(tenantId, compileScope(domain as PackSource<DomainPack>, source));
    if (tenantId !== '*') tenants.add(tenantId);
  }
  for (const [domainName, source] of domains) {
    const ofDomain = scopes.get(domainName) ?? new Map<string, Scope>();
    scopes.set(domainName, ofDomain);
    // Without any policy no tool is approved: everything risky waits for a person.
    if (!ofDomain.has('*')) ofDomain.set('*', compileScope(source, emptyPolicy(domainName)));
  }
  return createLookup(scopes, [...tenants].sort());
}

function emptyPolicy(domainName: string) {
  return readPack(
    '(no policy)',
    `tenantId: "*"\ndomainName: ${JSON.stringify(domainName)}\n`,
    policyPackSchema,
  );
}

function createLookup(scopes: ReadonlyMap<string, Map<string, Scope>>, tenants: string[]): Packs {
  const scope = (tenantId: string, domain: string) => {
    const ofDomain = scopes.get(domain);
    return ofDomain?.get(tenantId) ?? ofDomain?.get('*');
  };
  return {
    domains: [...scopes.keys()].sort(),
    tenants,
    scope,
    requireScope(tenantId, domain) {
      const found = scope(tenantId, domain);
      if (found !== undefined) return found;
      const hint = suggest(domain, scopes.keys());
      throw new MillraceError('NOT_FOUND', `there is no domain pack '${domain}'${hint}`, {
        fix: 'Add the pack to the folder `domains`, or correct the domain, and retry.',
        retryable: false,
      });
    },
  };
}
