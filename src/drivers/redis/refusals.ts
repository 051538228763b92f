/** Why a script did nothing, as an error. */
import { MillraceError } from '../../core/errors.ts';

interface About {
  readonly queue: string;
  readonly epoch?: number | null;
}

export function refusal(reply: readonly unknown[], { queue, epoch }: About): MillraceError {
  const [state, detail, key] = reply;
  switch (state) {
    case 'lost':
    case 'unknown':
      return new MillraceError('LEASE_LOST', `Epoch ${epoch} was declared dead.`);
    case 'full':
      return new MillraceError('BACKPRESSURE', `Queue ${queue} holds ${detail} jobs at most.`);
    case 'duplicate': {
      const who = detail === '' ? 'Another job of this call' : `Job ${detail}`;
      return new MillraceError('JOB_DUPLICATE', `${who} has the unique key ${key}.`, {
        details: { id: detail },
      });
    }
    default:
      return new MillraceError(
        'STORE_CONFLICT',
        `A lane of queue ${queue} is not known any more.`,
        {
          retryable: true,
          fix: 'The server has lost data: look for a failover without its newest writes.',
        },
      );
  }
}
