/** Addresses that tools may and may not reach, also in disguise. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { refusalOfAddress } from './addresses.ts';

describe('addresses', () => {
  it('of the public Internet may be called', () => {
    for (const address of ['1.1.1.1', '93.184.216.34', '172.32.0.1', '2606:4700::1111']) {
      assert.equal(refusalOfAddress(address, false), null, address);
    }
  });

  it('of one’s own network may not', () => {
    for (const address of [
      ...['127.0.0.1', '10.0.0.8', '172.16.0.1', '172.31.255.255', '192.168.1.1', '0.0.0.0'],
      ...['100.64.0.1', '198.18.0.1', '224.0.0.1', '255.255.255.255', '192.0.2.7'],
      ...['::1', '::', 'fc00::1', 'fd12:3456::1', 'fe80::1', 'fe80::1%eth0', 'ff02::1'],
    ]) {
      assert.match(refusalOfAddress(address, false) ?? 'allowed', /private or reserved/, address);
      assert.equal(refusalOfAddress(address, true), null, address);
    }
  });

  it('of IPv4 are recognised inside IPv6', () => {
    for (const address of [
      ...['::ffff:127.0.0.1', '::ffff:7f00:1', '0:0:0:0:0:ffff:0a00:0001', '64:ff9b::10.0.0.1'],
      ...['64:ff9b::7f00:1', '2002:7f00:1::', '2002:c0a8:101::1', '::127.0.0.1'],
    ]) {
      assert.match(refusalOfAddress(address, false) ?? 'allowed', /private or reserved/, address);
    }
    assert.equal(refusalOfAddress('::ffff:1.1.1.1', false), null);
  });

  it('of metadata services are refused even to tools in one’s own network', () => {
    for (const address of [
      ...['169.254.169.254', '169.254.170.2', '100.100.100.200', 'fd00:ec2::254'],
      ...['::ffff:169.254.169.254', '64:ff9b::a9fe:a9fe'],
    ]) {
      assert.match(refusalOfAddress(address, true) ?? 'allowed', /metadata/, address);
    }
  });

  it('that are none are refused', () => {
    assert.equal(refusalOfAddress('localhost', true), 'localhost is not an address');
  });
});
