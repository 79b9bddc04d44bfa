import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { KamailioRpc, RpcForbidden, RpcRefusal } from '../../../control/edge/kamailio-rpc.ts';

describe('JSON-RPC to a Kamailio', () => {
  it('that does not let this control process in is an error that says what to look at, and no refusal of what was asked', async () => {
    const server = createServer((_, response) =>
      response.writeHead(403, { 'content-type': 'text/plain' }).end('forbidden\n'),
    ).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const rpc = new KamailioRpc(`http://127.0.0.1:${(server.address() as AddressInfo).port}/RPC`);
    try {
      for (const ask of [() => rpc.call('htable.get', ['edge', 'synced']), () => rpc.tables('check', '')]) {
        const error = await ask().then(
          () => undefined,
          (reason: unknown) => reason,
        );
        expect(error).to.be.instanceOf(RpcForbidden).and.not.be.instanceOf(RpcRefusal);
        expect((error as Error).message).to.include('CONTROL_IPS');
      }
    } finally {
      rpc.close();
      server.close();
    }
  });
});
