/**
 * Compiles the tools of a domain for one tenant: what may be called, how long and how often it is
 * tried, and what takes it back. Called by compile.ts once per scope.
 */
import { type CompiledTool, notificationToolOf } from './compiled.ts';
import { type DomainPack, type Guardrails, type PolicyPack, toolSchema } from './schema.ts';
import type { PackSource, Path } from './source.ts';
import { suggest } from './suggest.ts';
import { compileWildcards } from './wildcard.ts';

export function compileTools(
  domain: PackSource<DomainPack>,
  policySource: PackSource<PolicyPack>,
  guardrails: Guardrails,
): Map<string, CompiledTool> {
  const { tools } = domain.value;
  const policy = policySource.value;
  const names = Object.keys(tools);
  checkToolNames(policySource, names);
  const approved = new Set(policy.approvedTools);
  const blocked = compileWildcards(guardrails.blockLists);
  const listed = compileWildcards(guardrails.allowLists);
  const refusalOf = (name: string): string | null => {
    if (blocked(name)) return 'is on the block list';
    if (guardrails.allowLists.length > 0 && !listed(name)) return 'is not on the allow list';
    if (tools[name]?.tenantScope === 'global' || approved.has(name)) return null;
    return `is not approved for tenant ${policy.tenantId}`;
  };
  const compiled = new Map<string, CompiledTool>();
  for (const [name, spec] of Object.entries(tools)) {
    const url = spec.endpointConfig?.url ?? spec.endpoint ?? null;
    checkTool(domain, name, url);
    const override = policy.toolOverrides[name];
    const seconds = override?.timeoutSeconds ?? spec.endpointConfig?.timeout ?? spec.timeoutSeconds;
    const refusal = refusalOf(name);
    compiled.set(name, {
      name,
      domain: domain.value.domainName,
      spec,
      url,
      timeoutMs: seconds * 1_000,
      maxRetries: Math.min(override?.maxRetries ?? spec.maxRetries, guardrails.maxAutoRetries),
      allowed: refusal === null,
      refusal,
      rollback: findRollback(name, tools, (other) => refusalOf(other) === null),
    });
  }
  for (const [channel, url] of Object.entries(policy.notificationPolicies.webhookUrls)) {
    const tool = notificationTool(domain.value.domainName, channel, url);
    compiled.set(tool.name, tool);
  }
  return compiled;
}

/** The tenant's webhook of a channel, as a tool, so that it has the same guards and retries. */
function notificationTool(domain: string, channel: string, url: string): CompiledTool {
  const endpointConfig = { url };
  const spec = toolSchema.parse({ type: 'http', executionMode: 'http', endpointConfig });
  return {
    name: notificationToolOf(channel),
    domain,
    spec,
    url,
    timeoutMs: 10_000,
    maxRetries: spec.maxRetries,
    allowed: true,
    refusal: null,
    rollback: null,
  };
}

/**
 * The declared rollback; otherwise a tool whose name says rollback, undo or revert and shares a
 * word with the failed one. (The original took any such tool: it would undo something else.)
 */
function findRollback(
  name: string,
  tools: DomainPack['tools'],
  allowed: (name: string) => boolean,
): string | null {
  const declared = tools[name]?.rollback;
  if (declared !== undefined) return allowed(declared) ? declared : null;
  if (/rollback|undo|revert/i.test(name)) return null;
  const words = wordsOf(name);
  const other = Object.keys(tools).find(
    (candidate) =>
      /rollback|undo|revert/i.test(candidate) &&
      allowed(candidate) &&
      wordsOf(candidate).some((word) => words.includes(word)),
  );
  return other ?? null;
}

const verbs: ReadonlySet<string> = new Set(['rollback', 'undo', 'revert']);

function wordsOf(name: string): string[] {
  return name
    .replace(/([a-z])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word.length > 2 && !verbs.has(word));
}

function checkTool(domain: PackSource<DomainPack>, name: string, url: string | null): void {
  const spec = domain.value.tools[name] as DomainPack['tools'][string];
  const at = ['tools', name];
  const { tools } = domain.value;
  if (spec.parameters !== undefined && spec.inputSchema !== undefined) {
    domain.complain([...at, 'parameters'], 'give parameters or inputSchema, not both');
  }
  if (spec.rollback !== undefined && tools[spec.rollback] === undefined) {
    const hint = suggest(spec.rollback, Object.keys(tools));
    domain.complain([...at, 'rollback'], `'${spec.rollback}' is not a tool of the domain${hint}`);
  }
  if (spec.executionMode === 'simulate') return;
  if (url === null) {
    domain.complain(at, `executionMode ${spec.executionMode} needs endpointConfig.url`);
  } else if (!URL.canParse(url)) {
    domain.complain([...at, spec.endpoint ? 'endpoint' : 'endpointConfig'], `'${url}' is no URL`);
  } else if (new URL(url).protocol !== 'https:' && !spec.allowHttp) {
    domain.complain(
      [...at, spec.endpoint ? 'endpoint' : 'endpointConfig'],
      `'${url}' is not https; set allowHttp: true to permit it`,
    );
  }
}

function checkToolNames(policy: PackSource<PolicyPack>, names: readonly string[]): void {
  const check = (name: string, path: Path) => {
    if (names.includes(name)) return;
    policy.complain(path, `'${name}' is not a tool of the domain${suggest(name, names)}`);
  };
  policy.value.approvedTools.forEach((name, index) => {
    check(name, ['approvedTools', index]);
  });
  for (const name of Object.keys(policy.value.toolOverrides)) check(name, ['toolOverrides', name]);
}
