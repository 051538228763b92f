/** What the driver reads of Kafka's answers; the client gives every version this shape. */

export interface ApiVersionsAnswer {
  readonly errorCode: number;
  readonly apiKeys: readonly {
    readonly name: string;
    readonly minVersion: number;
    readonly maxVersion: number;
  }[];
}

export interface MetadataTopic {
  readonly errorCode: number;
  readonly name: string | null;
  readonly topicId?: string;
  readonly isInternal: boolean;
  readonly partitions: readonly {
    readonly partitionIndex: number;
    readonly leaderId: number;
    readonly leaderEpoch?: number;
  }[];
}

export interface MetadataAnswer {
  readonly brokers: readonly {
    readonly nodeId: number;
    readonly host: string;
    readonly port: number;
  }[];
  readonly topics: readonly MetadataTopic[];
}

export interface CoordinatorAnswer {
  readonly coordinators: readonly {
    readonly host: string;
    readonly port: number;
    readonly errorCode: number;
  }[];
}

export interface ProducerIdAnswer {
  readonly errorCode: number;
  readonly producerId: bigint;
  readonly producerEpoch: number;
}

export interface ProducedPartition {
  readonly index: number;
  readonly errorCode: number;
  readonly recordErrors?: readonly { readonly batchIndex: number }[];
  readonly errorMessage?: string | null;
}

export interface ProduceAnswer {
  readonly responses: readonly {
    readonly name: string;
    readonly partitionResponses: readonly ProducedPartition[];
  }[];
}

export interface OffsetsAnswer {
  readonly topics: readonly {
    readonly name: string;
    readonly partitions: readonly {
      readonly partitionIndex: number;
      readonly errorCode: number;
      readonly offset: bigint;
    }[];
  }[];
}

interface CommittedTopic {
  readonly name: string;
  readonly partitions: readonly {
    readonly partitionIndex: number;
    readonly committedOffset: bigint;
    readonly errorCode: number;
  }[];
}

export interface CommittedAnswer {
  readonly errorCode?: number;
  /** Before version 8: of the one group. */
  readonly topics?: readonly CommittedTopic[];
  readonly groups?: readonly {
    readonly topics: readonly CommittedTopic[];
    readonly errorCode: number;
  }[];
}

export interface CommitAnswer {
  readonly topics: readonly {
    readonly name: string;
    readonly partitions: readonly { readonly partitionIndex: number; readonly errorCode: number }[];
  }[];
}

export interface NamedResults {
  readonly topics?: readonly NamedResult[];
  readonly responses?: readonly NamedResult[];
}

export interface NamedResult {
  readonly name: string | null;
  readonly errorCode: number;
  readonly errorMessage?: string | null;
}

export interface HeartbeatAnswer {
  readonly errorCode: number;
}

export interface JoinAnswer {
  readonly errorCode: number;
  readonly generationId: number;
  readonly protocolName: string | null;
  readonly leader: string;
  readonly skipAssignment?: boolean;
  readonly memberId: string;
  readonly members: readonly { readonly memberId: string; readonly metadata: Buffer }[];
}

export interface SyncAnswer {
  readonly errorCode: number;
  readonly assignment: Buffer;
}

export interface GroupHeartbeatAnswer {
  readonly errorCode: number;
  readonly errorMessage: string | null;
  readonly memberId: string | null;
  readonly memberEpoch: number;
  readonly heartbeatIntervalMs: number;
  readonly assignment: {
    readonly topicPartitions: readonly {
      readonly topicId: string;
      readonly partitions: readonly number[];
    }[];
  } | null;
}
