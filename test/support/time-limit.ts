/**
 * Loaded before each test file: a file that hangs ends by itself and says what kept it, so that it
 * does not take half of the machine from all others (one held up a whole run for half an hour).
 */
import process from 'node:process';

/** The longest file takes four minutes on two cores. */
const limitMs = 12 * 60_000 * Math.max(1, Number(process.env.MILLRACE_FAULTS_SCALE ?? 1));

setTimeout(() => {
  const left = process.getActiveResourcesInfo().join(', ');
  console.error(`${process.argv[1]} has not ended after ${limitMs / 1000} s; it keeps: ${left}`);
  process.exit(1);
}, limitMs).unref();
