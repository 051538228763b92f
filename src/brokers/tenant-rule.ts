/**
 * Whose an event of another system is. Other systems know nothing of our tenants, so an inlet says
 * how to find out: by an attribute, by the topic's name, by a function, or always the same one.
 * Where the topic or the inlet decides, an event that claims another tenant is refused.
 */
import type { ReceivedEvent } from '../core/cloud-event.ts';
import { MillraceError } from '../core/errors.ts';
import { checkTenantId } from '../core/event-fields.ts';
import type { TopicPartition } from '../ports/broker.ts';
import { checkTenant, type Misplaced } from './tenants.ts';
import type { TopicNames } from './topics.ts';

/** Answers with the tenant, or null when the event names none that it may. */
export type TenantOf = (event: ReceivedEvent, topic: string) => string | null;

/** `'attribute'`: what `tenantid` says is believed. Another text is the tenant of every event. */
export type TenantRule = 'attribute' | { readonly always: string } | { readonly of: TenantOf };

export type TenantAnswer =
  | { readonly tenantId: string; readonly misplaced: null }
  | { readonly tenantId: string | null; readonly misplaced: Misplaced };

export interface TenantFinder {
  find(event: ReceivedEvent, at: TopicPartition): TenantAnswer;
  /** Whose everything on the topic is; null where each event says it. */
  decided(topic: string): string | null;
}

/** @throws MillraceError CONFIG_INVALID */
export function tenantFinder(rule: TenantRule, namings: readonly TopicNames[]): TenantFinder {
  const always = alwaysOf(rule);
  const namingOf = (topic: string) =>
    namings.find((names) => names.perTenant && names.includes(topic));
  const decidedBy = (topic: string) => always ?? namingOf(topic)?.tenantOf(topic) ?? null;
  const find: TenantFinder['find'] = (event, at) => {
    const naming = namingOf(at.topic);
    const decided = decidedBy(at.topic);
    if (decided !== null && event.tenantId !== null && event.tenantId !== decided) {
      const message = `It names tenant ${event.tenantId} where all events are of ${decided}.`;
      return { tenantId: decided, misplaced: { reason: 'tenant-mismatch', message } };
    }
    const found =
      decided ??
      (typeof rule === 'object' && 'of' in rule ? rule.of(event, at.topic) : event.tenantId);
    const misplaced = checkTenant({ ...event, tenantId: found }, at, {
      topics: naming ?? anyTopic,
      partitions: null,
    });
    return misplaced === null
      ? { tenantId: found as string, misplaced }
      : { tenantId: decided, misplaced };
  };
  return { find, decided: decidedBy };
}

const anyTopic: TopicNames = {
  template: '',
  perTenant: false,
  topicOf: () => '',
  includes: () => true,
  tenantOf: () => null,
};

function alwaysOf(rule: TenantRule): string | null {
  if (rule === 'attribute') return null;
  if (typeof rule === 'object' && 'of' in rule && typeof rule.of === 'function') return null;
  if (typeof rule === 'object' && 'always' in rule) return checkTenantId(rule.always);
  throw new MillraceError('CONFIG_INVALID', "An inlet's tenant is no rule.", {
    fix: "Give 'attribute', { always: 'tenant' } or { of: (event, topic) => tenant }.",
  });
}
