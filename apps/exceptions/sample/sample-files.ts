/**
 * The sample that comes with the application: invented settlement exceptions, claims and log lines,
 * some of which are rejected when read, and some end as dead letters. `npm start` reads it.
 */
import { fileURLToPath } from 'node:url';

/** A file of the sample and whose it is. */
export interface SampleFile {
  readonly path: string;
  readonly tenant: string;
  readonly domain?: string;
  readonly source?: string;
}

function file(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

export const sampleFiles: readonly SampleFile[] = [
  // 121 exceptions, 4 dead letters, 3 rejected lines.
  { path: file('settlement.ndjson'), tenant: 'northwind', domain: 'finance' },
  // 90 exceptions, 2 dead letters, 2 rejected rows.
  {
    path: file('claims.csv'),
    tenant: 'mercy-clinic',
    domain: 'healthcare',
    source: 'claims-export',
  },
  // Faults among ordinary lines, a stack trace, 3 rejected lines. Not *.log, which git ignores.
  { path: file('hosts.log.txt'), tenant: 'northwind', source: 'mill-hosts' },
];
