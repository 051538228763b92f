/**
 * `traceparent` (W3C Trace Context) between processes: what is active here as text, and text as a
 * context to run in. Carried by events (metadata), jobs (options), runs and steps.
 */
import { type Context, context, isSpanContextValid, ROOT_CONTEXT, trace } from '@opentelemetry/api';

const pattern = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/** Of the active span; null without one. */
export function activeTraceparent(from: Context = context.active()): string | null {
  const span = trace.getSpanContext(from);
  if (span === undefined || !isSpanContextValid(span)) return null;
  const flags = (span.traceFlags & 0xff).toString(16).padStart(2, '0');
  return `00-${span.traceId}-${span.spanId}-${flags}`;
}

/** A context with that remote span; `otherwise` when there is none or it cannot be read. */
export function contextOf(traceparent: string | null, otherwise: Context = ROOT_CONTEXT): Context {
  const match = traceparent === null ? null : pattern.exec(traceparent);
  if (match === null) return otherwise;
  const [, traceId = '', spanId = '', flags = '00'] = match;
  const remote = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
  return isSpanContextValid(remote) ? trace.setSpanContext(otherwise, remote) : otherwise;
}
