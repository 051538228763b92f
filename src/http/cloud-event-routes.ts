/**
 * The door for events of other systems that speak HTTP: `POST /cloudevents` appends what it gets to
 * the log, and `GET /cloudevents/:id` shows an event as a CloudEvent. What is posted twice with one
 * id and source is one event, so callers may send again whenever an answer is lost.
 */
import { admitEvent } from '../brokers/foreign-events.ts';
import { tenantFinder } from '../brokers/tenant-rule.ts';
import type { ReceivedEvent } from '../core/cloud-event.ts';
import type { UnreadableEvent } from '../core/cloud-event-json.ts';
import { type ErrorCode, isMillraceError, MillraceError } from '../core/errors.ts';
import type { Millrace } from '../millrace.ts';
import type { RoutedEvent } from '../ports/store.ts';
import {
  binaryReply,
  readRequest,
  structuredReply,
  wantsStructured,
} from './cloud-event-binding.ts';
import { uuidOf } from './parameters.ts';
import { type Route, requestInvalid } from './route.ts';

export interface CloudEventOptions {
  /** What to do with a type that this process does not know; it is refused by default. */
  readonly unknownTypes?: 'refuse' | 'accept';
  /** CloudEvents `source` of what is shown; `millrace` by default. */
  readonly source?: string;
}

const batchMax = 1_000;

export function cloudEventRoutes(
  mill: Millrace,
  { unknownTypes = 'refuse', source = 'millrace' }: CloudEventOptions = {},
): readonly Route[] {
  const { publisher, history, store } = mill;
  const rules = {
    unknownTypes,
    publisher,
    definition: (type: string) => mill.definitionOf(type),
  };
  return [
    {
      method: 'POST',
      path: '/cloudevents',
      tenant: 'optional',
      async handle({ tenantId, headers, body }) {
        const { mode, events } = readRequest(headers, body);
        if (events.length > batchMax) {
          throw requestInvalid(`The batch has ${events.length} events; ${batchMax} are allowed.`);
        }
        const admit = (event: ReceivedEvent | UnreadableEvent, index: number) =>
          admitted(event, tenantId, rules, mode === 'batch' ? index : null);
        // All of them before the first is stored: a refusal leaves nothing behind.
        const routed = events.map(admit);
        const published = await Promise.all(routed.map((event) => publisher.append(event)));
        const items = published.map(({ eventId, duplicate }, i) => {
          const { id } = events[i] as ReceivedEvent;
          return { id, eventId, tenantId: routed[i]?.event.tenantId, duplicate };
        });
        return { status: 202, body: { items } };
      },
    },
    {
      method: 'GET',
      path: '/cloudevents/:id',
      async handle({ tenantId, params, headers }) {
        const id = uuidOf(params, 'id');
        const event = await history.find(tenantId, id);
        if (event === null) {
          throw new MillraceError('NOT_FOUND', `Tenant ${tenantId} has no event ${id}.`);
        }
        const options = { source, logId: store.logId };
        return wantsStructured(headers)
          ? structuredReply(event, options)
          : binaryReply(event, options);
      },
    },
  ];
}

type Rules = Parameters<typeof admitEvent>[2];

/** @param index in the batch; null for an event that came alone. */
function admitted(
  event: ReceivedEvent | UnreadableEvent,
  headerTenant: string,
  rules: Rules,
  index: number | null,
): RoutedEvent {
  const refuse = (code: ErrorCode, message: string, cause?: unknown): never => {
    const which = index === null ? '' : `Event ${index} of the batch: `;
    const ours = isMillraceError(cause) ? cause : null;
    throw new MillraceError(ours?.code ?? code, which + message, {
      fix: ours?.fix ?? fixes[code],
      details: { ...ours?.details, ...(index !== null && { index }) },
      ...(ours !== null && { cause: ours }),
    });
  };
  if ('problem' in event)
    return refuse('REQUEST_INVALID', `It is no CloudEvent: ${event.problem}.`);
  const rule = headerTenant === '' ? 'attribute' : { always: headerTenant };
  const { tenantId, misplaced } = tenantFinder(rule, []).find(event, { topic: '', partition: 0 });
  if (misplaced !== null) {
    const other = misplaced.reason === 'tenant-mismatch';
    return refuse(other ? 'TENANT_MISMATCH' : 'REQUEST_INVALID', misplaced.message);
  }
  const { routed, refusal, ...rest } = admitEvent(event, tenantId, rules);
  if (refusal === null) return routed;
  const cause = 'cause' in rest ? rest.cause : undefined;
  return refuse(codeOf[refusal.reason] ?? 'EVENT_INVALID', refusal.message, cause);
}

const codeOf: Readonly<Record<string, ErrorCode>> = {
  'type-unknown': 'EVENT_UNKNOWN',
  'version-unsupported': 'EVENT_VERSION_UNSUPPORTED',
  'event-too-large': 'EVENT_TOO_LARGE',
};

const fixes: Partial<Record<ErrorCode, string>> = {
  TENANT_MISMATCH: 'Send the tenant in x-tenant-id or in ce-tenantid, or the same one in both.',
  REQUEST_INVALID:
    'Send CloudEvents 1.0 with JSON data: headers ce-…, or application/cloudevents+json; ' +
    'name the tenant in x-tenant-id or in the attribute tenantid.',
};
