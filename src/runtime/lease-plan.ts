/**
 * Which partitions of a group a worker gives back, takes and asks for: a pure decision from what
 * the table of leases says. Without a broker: a fair share of what is free. With one: what the
 * broker brings to this worker it takes whatever its share is, and the rest it adopts only after
 * it was free for a while, so that no partition starves and none is fought over.
 *
 *   ours by the broker:  free ─────────────> take         with another ──> ask for it
 *   not ours:            free, patience over ─> adopt      held, asked for ──> give back
 */
import type { Lease } from '../ports/streams.ts';

export interface LeaseView {
  readonly partitions: number;
  readonly workerId: string;
  /** The newest leases of this group. */
  readonly leases: readonly Lease[];
  /** Held by this worker, those that are being handed back included. */
  readonly held: readonly number[];
  /** Held and not being handed back. */
  readonly staying: readonly number[];
  /** Live workers with this group, this one included. */
  readonly sharers: number;
  /** Null without a broker: then every partition is as good as another. */
  readonly preference: LeasePreference | null;
}

export interface LeasePreference {
  /** The broker brings this partition here. */
  prefers(partition: number): boolean;
  /** How long the partition has been free, as far as this worker has seen; milliseconds. */
  freeForMs(partition: number): number;
  /** How long one that the broker brings elsewhere is left to others. */
  readonly patienceMs: number;
}

export interface Candidate {
  readonly partition: number;
  readonly seenEpoch: number;
  /** Ours by the table but not held: nobody else could take it, so it is released or taken. */
  readonly orphan: boolean;
  /** Taken whatever the share is. */
  readonly preferred: boolean;
}

export interface LeasePlan {
  readonly surplus: readonly number[];
  /** In the order to take them, as long as there is room for those that need it. */
  readonly candidates: readonly Candidate[];
  readonly room: number;
  /** With another live worker, and brought here by the broker. */
  readonly wanted: readonly number[];
  /** Free at the moment, for the clock of patience. */
  readonly free: readonly number[];
}

export function planLeases(view: LeaseView): LeasePlan {
  const { partitions, workerId, leases, held, staying, sharers, preference } = view;
  const share = Math.ceil(partitions / Math.max(1, sharers));
  const byPartition = new Map(leases.map((lease) => [lease.partition, lease]));
  const prefers = (partition: number) => preference?.prefers(partition) === true;
  const tooMany = Math.max(0, staying.length - share);
  const surplus = staying.filter((partition) => !prefers(partition)).slice(0, tooMany);
  const candidates: Candidate[] = [];
  const wanted: number[] = [];
  const freeNow: number[] = [];
  for (let partition = 0; partition < partitions; partition += 1) {
    const seen = byPartition.get(partition);
    const isHeld = held.includes(partition);
    const free = seen === undefined || seen.workerId === null || !seen.ownerAlive;
    const orphan = seen?.workerId === workerId && !isHeld;
    const preferred = prefers(partition);
    if (free || orphan) {
      if (free) freeNow.push(partition);
      const waits = preference !== null && !preferred && !orphan;
      if (waits && preference.freeForMs(partition) < preference.patienceMs) continue;
      candidates.push({ partition, seenEpoch: seen?.epoch ?? 0, orphan, preferred });
    } else if (preferred && !isHeld) wanted.push(partition);
  }
  candidates.sort((a, b) => Number(b.preferred) - Number(a.preferred) || a.partition - b.partition);
  return { surplus, candidates, room: share - held.length, wanted, free: freeNow };
}
