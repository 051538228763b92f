import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { driverOptions } from './driver-options.ts';

describe('options of the Kafka driver in the URL', () => {
  it('are taken out, and the rest is left as it was', () => {
    const url = 'kafka://a:1,b:2?tls=1&compression=lz4&groupProtocol=classic&sessionTimeoutMs=7000';
    assert.deepEqual(driverOptions(url), {
      url: 'kafka://a:1,b:2?tls=1',
      compression: 'lz4',
      groupProtocol: 'classic',
      sessionTimeoutMs: 7000,
    });
  });

  it('have defaults, and a connection string of Event Hubs is no URL', () => {
    const text = 'Endpoint=sb://x.servicebus.windows.net/;SharedAccessKey=a?compression=b=';
    for (const url of ['kafka://a:1', text]) {
      assert.deepEqual(driverOptions(url), {
        url,
        compression: 'none',
        groupProtocol: null,
        sessionTimeoutMs: 15_000,
      });
    }
  });

  for (const wrong of ['compression=rar', 'groupProtocol=new', 'sessionTimeoutMs=soon']) {
    it(`refuse ${wrong}`, () => {
      assert.throws(() => driverOptions(`kafka://a:1?${wrong}`), { code: 'CONFIG_INVALID' });
    });
  }
});
