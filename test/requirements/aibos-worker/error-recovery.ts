// biome-ignore-all assist/source/organizeImports: as the document has it
// #region document
import { ErrorRecovery } from 'millrace';
// #endregion
import type { Job } from 'millrace';

export async function recoverFromErrors(failures: readonly (readonly [Job, unknown])[]) {
  // #region document
  const errorRecovery = new ErrorRecovery({
    strategies: [
      {
        errorType: 'ValidationError',
        action: 'retry',
        maxAttempts: 3,
      },
      {
        errorType: 'DatabaseError',
        action: 'retry',
        maxAttempts: 5,
        delay: 2000,
      },
      {
        errorType: 'NetworkError',
        action: 'retry',
        maxAttempts: 10,
        delay: 5000,
      },
      {
        errorType: 'BusinessLogicError',
        action: 'fail',
        notify: true,
      },
    ],
  });
  // #endregion
  for (const [job, error] of failures) {
    // #region document
    // Handle job error
    await errorRecovery.handleError(job, error);
    // #endregion
  }
  return { errorRecovery };
}
