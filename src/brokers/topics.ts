/**
 * What topics are called: one for all tenants, or one for each (P9-1, P9-24). A template says
 * which: `millrace.events`, or `millrace.{tenant}.events`. Pure; the relay names topics with it,
 * the feed and the checks of tenants read them back.
 *
 * A tenant may be any text, a topic is letters, digits, `.`, `_` and `-`, 249 of them at most. So
 * `{tenant}` stands for the tenant's UTF-8 bytes where letters, digits and `-` stay as they are
 * and any other byte is `_` with two hexadecimal digits: `a.b` is `a_2eb`, `a_b` is `a_5fb`. There
 * is no dot in it, because Kafka refuses a topic that differs from another one in `.` and `_` only.
 * A name that becomes too long is `_-` with its SHA-256: still one topic per tenant, but nobody
 * reads the tenant from its name.
 *
 * Invariant: different tenants have different topics, and `tenantOf(topicOf(tenant))` is the
 * tenant, or null where the name is a digest.
 */
import { createHash } from 'node:crypto';
import { MillraceError } from '../core/errors.ts';

export const sharedTopicDefault = 'millrace.events';
export const tenantTopicDefault = 'millrace.{tenant}.events';

/** Kafka's limit. */
const topicCharsMax = 249;
/** Of a tenant's, where the template leaves so much: RabbitMQ needs room for a group beside it. */
const tenantTopicCharsMax = 150;
const placeholder = '{tenant}';
/** `_-` and 43 characters of base64url. */
const digestChars = 45;
/** Topics remembered: hashing and encoding cost 2 µs, looking up 0.05 µs. */
const rememberedMax = 10_000;

export interface TopicNames {
  readonly template: string;
  /** One topic for each tenant. False: one for all, and each event says whose it is. */
  readonly perTenant: boolean;
  /** Where events of this tenant are published. */
  topicOf(tenantId: string): string;
  /** True for a topic that this template makes; another one is foreign. */
  includes(topic: string): boolean;
  /** The tenant in the name; null when it is not there: shared, a digest, or foreign. */
  tenantOf(topic: string): string | null;
}

/**
 * @param template letters, digits, `.`, `_` and `-`, with `{tenant}` at most once.
 * @throws MillraceError CONFIG_INVALID
 */
export function topicNames(template: string = sharedTopicDefault): TopicNames {
  const [prefix = '', suffix, ...more] = template.split(placeholder);
  checkTemplate(template, [prefix, suffix ?? ''], more.length);
  if (suffix === undefined) return sharedTopic(template);
  const charsMax = Math.max(tenantTopicCharsMax - prefix.length - suffix.length, digestChars);
  const remembered = new Map<string, string>();
  const tenantOf = (topic: string): string | null => {
    const inside = insideOf(topic, prefix, suffix);
    const tenantId = inside === null ? null : decodeTenant(inside);
    // What reads back in another spelling than we would write is not ours: `_41` for `A`.
    return tenantId !== null && encodeTenant(tenantId, charsMax) === inside ? tenantId : null;
  };
  return {
    template,
    perTenant: true,
    topicOf(tenantId) {
      const known = remembered.get(tenantId);
      if (known !== undefined) return known;
      if (remembered.size >= rememberedMax) remembered.clear();
      const topic = `${prefix}${encodeTenant(tenantId, charsMax)}${suffix}`;
      remembered.set(tenantId, topic);
      return topic;
    },
    includes(topic) {
      return digestPattern.test(insideOf(topic, prefix, suffix) ?? '') || tenantOf(topic) !== null;
    },
    tenantOf,
  };
}

function sharedTopic(template: string): TopicNames {
  return {
    template,
    perTenant: false,
    topicOf: () => template,
    includes: (topic) => topic === template,
    tenantOf: () => null,
  };
}

function checkTemplate(template: string, fixed: readonly string[], more: number): void {
  const refuse = (problem: string): never => {
    throw new MillraceError('CONFIG_INVALID', `The topic '${template}' ${problem}.`, {
      fix: `Give a name such as ${sharedTopicDefault} or ${tenantTopicDefault}.`,
    });
  };
  if (more > 0) refuse(`has ${placeholder} more than once`);
  if (template === '' || template === '.' || template === '..') refuse('is no name');
  const odd = /[^A-Za-z0-9._-]/.exec(fixed.join(''));
  if (odd !== null) refuse(`has '${odd[0]}', where letters, digits, . _ and - are allowed`);
  const chars = fixed.join('').length + (template.includes(placeholder) ? digestChars : 0);
  if (chars > topicCharsMax) refuse(`makes names of ${chars} characters; ${topicCharsMax} fit`);
}

function insideOf(topic: string, prefix: string, suffix: string): string | null {
  const fits = topic.length > prefix.length + suffix.length && topic.length <= topicCharsMax;
  if (!fits || !topic.startsWith(prefix) || !topic.endsWith(suffix)) return null;
  return topic.slice(prefix.length, topic.length - suffix.length);
}

const plainPattern = /^[A-Za-z0-9-]+$/;
const encodedPattern = /^(?:[A-Za-z0-9-]|_[0-9a-f]{2})+$/;
const digestPattern = /^_-[\w-]{43}$/;

function encodeTenant(tenantId: string, charsMax: number): string {
  const encoded = plainPattern.test(tenantId) ? tenantId : escapeBytes(tenantId);
  if (encoded.length <= charsMax) return encoded;
  return `_-${createHash('sha256').update(tenantId).digest('base64url')}`;
}

function escapeBytes(text: string): string {
  let encoded = '';
  for (const byte of Buffer.from(text)) {
    const character = String.fromCharCode(byte);
    encoded += plainPattern.test(character) ? character : `_${byte.toString(16).padStart(2, '0')}`;
  }
  return encoded;
}

function decodeTenant(encoded: string): string | null {
  if (!encodedPattern.test(encoded)) return null;
  try {
    return decodeURIComponent(encoded.replaceAll('_', '%'));
  } catch {
    return null; // bytes that are no UTF-8
  }
}
