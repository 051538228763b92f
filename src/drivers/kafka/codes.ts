/** Error codes of Kafka that the driver acts on, by the names of the protocol guide. */
import { ProtocolError, protocolErrorsCodesById } from '@platformatic/kafka';

export const code = {
  none: 0,
  offsetOutOfRange: 1,
  unknownTopicOrPartition: 3,
  notLeaderOrFollower: 6,
  messageTooLarge: 10,
  coordinatorLoadInProgress: 14,
  coordinatorNotAvailable: 15,
  notCoordinator: 16,
  invalidTopic: 17,
  recordListTooLarge: 18,
  illegalGeneration: 22,
  inconsistentGroupProtocol: 23,
  unknownMemberId: 25,
  rebalanceInProgress: 27,
  topicAuthorizationFailed: 29,
  groupAuthorizationFailed: 30,
  clusterAuthorizationFailed: 31,
  unsupportedVersion: 35,
  invalidTimestamp: 32,
  topicAlreadyExists: 36,
  outOfOrderSequence: 45,
  duplicateSequence: 46,
  invalidProducerEpoch: 47,
  saslAuthenticationFailed: 58,
  unknownProducerId: 59,
  groupIdNotFound: 69,
  memberIdRequired: 79,
  fencedInstanceId: 82,
  invalidRecord: 87,
  producerFenced: 90,
  unknownTopicId: 100,
  inconsistentTopicId: 103,
  fencedMemberEpoch: 110,
  unreleasedInstanceId: 111,
  staleMemberEpoch: 113,
} as const;

/** The producer id, or what the broker remembers of it, is no longer good. */
export function isProducerLost(errorCode: number): boolean {
  return (
    errorCode === code.outOfOrderSequence ||
    errorCode === code.unknownProducerId ||
    errorCode === code.invalidProducerEpoch ||
    errorCode === code.producerFenced
  );
}

/** Another broker leads the partition now, or the topic was made anew: metadata is too old. */
export function isMetadataOld(errorCode: number): boolean {
  return staleMetadata.has(errorCode);
}

// Leader not available, not leader, replica not available, kafka storage error, fenced and unknown
// leader epochs, unknown topic (by name and by id), another topic of the same name.
const staleMetadata = new Set<number>([3, 5, 6, 9, 56, 74, 75, 100, 103]);

/** Ask again who coordinates the group. */
export function isCoordinatorLost(errorCode: number): boolean {
  return (
    errorCode === code.coordinatorLoadInProgress ||
    errorCode === code.coordinatorNotAvailable ||
    errorCode === code.notCoordinator
  );
}

export function isDenied(errorCode: number): boolean {
  return (
    errorCode === code.topicAuthorizationFailed ||
    errorCode === code.groupAuthorizationFailed ||
    errorCode === code.clusterAuthorizationFailed ||
    errorCode === code.saslAuthenticationFailed
  );
}

/** The client's error for a code; brokers that are newer than it may have others. */
export function protocolError(errorCode: number, message: string | null = null): Error {
  if (errorCode in protocolErrorsCodesById) return new ProtocolError(errorCode, message);
  return new Error(`error ${errorCode}${message === null ? '' : `: ${message}`}`);
}

/** Of an error made by `protocolError`; -1 for any other. */
export function codeOf(error: unknown): number {
  return error instanceof ProtocolError ? ((error as { apiCode?: number }).apiCode ?? -1) : -1;
}
