/**
 * What time alone does to an exception: its deadline comes near and passes, an approval becomes
 * overdue and escalates (P9-22). Whoever scans the projection (once a minute is enough) publishes
 * what this answers. Every id is derived, so scanning twice, or in two processes, stores it once;
 * nothing has to be marked as done, and a scan that fails is made up by the next.
 */
import type { EventDefinition, EventInput } from 'millrace';
import { decideApproval, derivedId } from './commands.ts';
import { SLAExpired, SLAImminent } from './events.ts';
import type { ExceptionState } from './projection.ts';

/** An event to publish: `mill.publish(definition, input)`. */
export interface DueEvent {
  readonly definition: EventDefinition;
  readonly input: EventInput<unknown>;
}

export type ClockState = Pick<
  ExceptionState,
  | 'exceptionId'
  | 'status'
  | 'severity'
  | 'outcome'
  | 'waiting'
  | 'createdAt'
  | 'slaDeadline'
  | 'slaStatus'
>;

/**
 * The events that are due for an exception. `imminentShare` is the share of the time from
 * acceptance to the deadline after which that is near: `slaImminentShare` of the tenant's policy.
 */
export function dueEvents(
  tenantId: string,
  state: ClockState,
  nowMs: number,
  imminentShare = 0.8,
): readonly DueEvent[] {
  if (state.outcome !== null) return [];
  const due = [
    dueDeadline(tenantId, state, nowMs, imminentShare),
    dueApproval(tenantId, state, nowMs),
  ];
  return due.filter((event) => event !== null);
}

function dueDeadline(
  tenantId: string,
  state: ClockState,
  nowMs: number,
  imminentShare: number,
): DueEvent | null {
  const { exceptionId, severity, slaDeadline, slaStatus, createdAt } = state;
  if (slaDeadline === null || slaStatus === 'EXPIRED') return null;
  const begin = Date.parse(createdAt);
  const end = Date.parse(slaDeadline);
  const fields = { exceptionId, severity, slaDeadline };
  // The deadline is part of the id: an exception that comes in again has a new one.
  const idOf = (what: string) => derivedId(what, tenantId, exceptionId, slaDeadline);
  if (nowMs >= end) {
    const payload = { ...fields, overdueSeconds: (nowMs - end) / 1_000 };
    return { definition: SLAExpired, input: { tenantId, eventId: idOf('expired'), payload } };
  }
  const elapsedShare = (nowMs - begin) / (end - begin);
  if (slaStatus === 'IMMINENT' || elapsedShare < imminentShare) return null;
  const payload = { ...fields, elapsedShare };
  return { definition: SLAImminent, input: { tenantId, eventId: idOf('imminent'), payload } };
}

function dueApproval(tenantId: string, state: ClockState, nowMs: number): DueEvent | null {
  const { dueAt, escalateAt } = state.waiting ?? { dueAt: null, escalateAt: null };
  if (escalateAt !== null && nowMs >= Date.parse(escalateAt)) {
    return decideApproval(tenantId, state, { decision: 'ESCALATED', user: 'clock' });
  }
  if (dueAt === null || nowMs < Date.parse(dueAt)) return null;
  return decideApproval(tenantId, state, { decision: 'TIMED_OUT', user: 'clock' });
}
