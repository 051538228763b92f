/**
 * Loaded before anything else in a worker process that a scaler started: when the scaler is gone,
 * however it ended, the worker is told to end as well. Otherwise nobody would count it any more.
 */
const graceMs = 30_000;

function end(): void {
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), graceMs).unref();
  process.kill(process.pid, 'SIGTERM');
}

// It may be gone already, before this was loaded.
if (process.connected === false) end();
else process.once('disconnect', end);
// Listening would keep the process alive for ever.
process.channel?.unref();
