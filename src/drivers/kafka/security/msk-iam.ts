/**
 * Tokens for Amazon MSK with IAM: a presigned URL, made without a network call once credentials are
 * there. The signer is an optional peer dependency, since it brings about a hundred packages.
 */
import { MillraceError } from '../../../core/errors.ts';
import type { BrokerToken } from '../../../ports/broker.ts';

export interface MskIdentity {
  readonly region: string;
  /** Of ~/.aws/config; null: the usual places, from the environment to the instance's role. */
  readonly profile: string | null;
  /** ARN of a role to assume. */
  readonly role: string | null;
}

/** The part of aws-msk-iam-sasl-signer-js that is used. */
interface Signer {
  generateAuthToken(options: { region: string }): Promise<Signed>;
  generateAuthTokenFromProfile(options: {
    region: string;
    awsProfileName: string;
  }): Promise<Signed>;
  generateAuthTokenFromRole(options: { region: string; awsRoleArn: string }): Promise<Signed>;
}

interface Signed {
  readonly token: string;
  /** Milliseconds since 1970. */
  readonly expiryTime: number;
}

/** @throws MillraceError CONFIG_INVALID when the signer is not installed */
export async function mskTokens(identity: MskIdentity): Promise<() => Promise<BrokerToken>> {
  const signer = await loadSigner();
  const { region, profile, role } = identity;
  return async () => {
    const signed =
      role !== null
        ? await signer.generateAuthTokenFromRole({ region, awsRoleArn: role })
        : profile !== null
          ? await signer.generateAuthTokenFromProfile({ region, awsProfileName: profile })
          : await signer.generateAuthToken({ region });
    return { token: signed.token, expiresAt: signed.expiryTime };
  };
}

async function loadSigner(): Promise<Signer> {
  try {
    const loaded = await import('aws-msk-iam-sasl-signer-js');
    // A CommonJS package: its names are on the module or on its default, as the loader sees them.
    return 'generateAuthToken' in loaded ? loaded : (loaded as { default: Signer }).default;
  } catch (error) {
    throw new MillraceError('CONFIG_INVALID', 'msk:// needs the package that signs AWS tokens.', {
      cause: error,
      fix: 'npm install aws-msk-iam-sasl-signer-js, or use SCRAM: msk://user:password@host:9096.',
    });
  }
}
