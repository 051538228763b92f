/**
 * Ids of steps for the outside: what audits, domain events and other systems call a step by. A
 * step is stored by (run, number) and needs no id of its own, so this one is computed.
 */

const low48 = 2 ** 48;
/** Odd and large: neighbouring steps get ids that do not look alike. */
const spread = 0x9e3779b1;

/**
 * A UUID (version 8) that is the same for the same run and step for ever, and different for every
 * step of a run. It keeps the time of the run's UUIDv7, so that ids sort by it.
 */
export function stepUuid(runId: string, no: number): string {
  const low = Number.parseInt(runId.slice(24), 16);
  const mixed = (low + (no + 1) * spread) % low48;
  return `${runId.slice(0, 14)}8${runId.slice(15, 24)}${mixed.toString(16).padStart(12, '0')}`;
}
