/**
 * Which network addresses tools may reach. Private, loopback, link-local, documentation, multicast
 * and reserved ranges are refused, also when they hide in an IPv6 form of an IPv4 address. Those of
 * cloud metadata services are refused even to tools that may call private addresses.
 */
import { BlockList, isIP } from 'node:net';

const refused = new BlockList();
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const) {
  refused.addSubnet(network, prefix, 'ipv4');
}
for (const [network, prefix] of [
  ['::', 96],
  ['64:ff9b:1::', 48],
  ['100::', 64],
  ['2001::', 23],
  ['2001:db8::', 32],
  ['3fff::', 20],
  ['5f00::', 16],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
] as const) {
  refused.addSubnet(network, prefix, 'ipv6');
}

const metadata = new BlockList();
metadata.addSubnet('169.254.0.0', 16, 'ipv4');
metadata.addAddress('100.100.100.200', 'ipv4');
metadata.addAddress('192.0.0.192', 'ipv4');
metadata.addAddress('fd00:ec2::254', 'ipv6');
metadata.addAddress('fd20:ce::254', 'ipv6');

/** Why the address may not be called; null when it may. */
export function refusalOfAddress(address: string, allowPrivate: boolean): string | null {
  const family = isIP(address);
  if (family === 0) return `${address} is not an address`;
  const embedded = family === 6 ? embeddedIpv4(address) : null;
  if (embedded !== null) return refusalOfAddress(embedded, allowPrivate);
  const name = family === 4 ? 'ipv4' : 'ipv6';
  if (metadata.check(address, name)) return `${address} belongs to a metadata service`;
  if (allowPrivate || !refused.check(address, name)) return null;
  return `${address} is a private or reserved address`;
}

/** The IPv4 address inside mapped (::ffff:), NAT64 (64:ff9b::) and 6to4 (2002:) addresses. */
function embeddedIpv4(address: string): string | null {
  const words = expandIpv6(address);
  if (words === null) return null;
  const head = words.slice(0, 6).join(':');
  if (head === '0:0:0:0:0:65535' || head === '100:65435:0:0:0:0') {
    return dotted(words[6] as number, words[7] as number);
  }
  return words[0] === 0x2002 ? dotted(words[1] as number, words[2] as number) : null;
}

function dotted(high: number, low: number): string {
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

/** Eight numbers; null for what is no IPv6 address. */
function expandIpv6(address: string): number[] | null {
  let text = address.replace(/%.*$/, '');
  const tail = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  if (tail !== null) {
    const [a, b, c, d] = tail.slice(2).map(Number) as [number, number, number, number];
    text = `${tail[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const [left = '', right] = text.split('::');
  const parse = (part: string) => (part === '' ? [] : part.split(':').map((w) => Number(`0x${w}`)));
  const head = parse(left);
  if (right === undefined) return head.length === 8 ? head : null;
  const end = parse(right);
  return [...head, ...new Array<number>(Math.max(0, 8 - head.length - end.length)).fill(0), ...end];
}
