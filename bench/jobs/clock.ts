/**
 * The machine's monotonic clock in milliseconds: the same in every process, never set back. Read
 * anew each time: `performance.now()` plus a distance taken once is wrong by however long the
 * process was interrupted between the two readings, which was 12 ms on a busy machine.
 */
export const machineMs = (): number => Number(process.hrtime.bigint()) / 1e6;
