import { expect } from 'chai';
import { isThere, type Rpc } from '../../../control/edge/dialog.ts';
import type { FarEnd } from '../../../control/lib/far-end.ts';

const end = (routes = ''): FarEnd => ({
  sipCallId: 'c@d',
  fromTag: 'theirs',
  toTag: 'its',
  contact: 'sip:mv.token@192.0.2.1:5060',
  routes,
});

describe('whether anybody is in a call', () => {
  let asked: (string | number)[][];
  const kamailio = (...codes: number[]): Rpc => ({
    url: 'http://kamailio',
    call: (method, params = []) => {
      if (method === 'core.sockets_list')
        return Promise.resolve([{ socket: { proto: 'udp', ipaddress: '192.0.2.9', port: '5060' } }]);
      asked.push(params);
      return Promise.resolve([codes.shift() ?? 0, 'Whatever']);
    },
  });
  const away: Rpc = { url: 'http://gone', call: () => Promise.reject(new Error('connect ECONNREFUSED')) };

  beforeEach(() => (asked = []));

  it('somebody is who answers anything, be it a refusal', async () => {
    for (const code of [200, 405, 415, 500, 501, 603])
      expect(await isThere([kamailio(code)], [end()]), String(code)).to.equal(true);
    expect(await isThere([kamailio(408, 500)], [end(), end()])).to.equal(true);
  });

  it('nobody is when each is silent, knows no such call, or cannot be sent to', async () => {
    for (const code of [404, 408, 410, 477, 478, 481])
      expect(await isThere([kamailio(code)], [end()]), String(code)).to.equal(false);
    expect(await isThere([kamailio(408, 481)], [end(), end()])).to.equal(false);
  });

  it('is not known when no Kamailio can be asked; another one is enough', async () => {
    expect(await isThere([away], [end()])).to.equal(undefined);
    expect(await isThere([away, kamailio(408)], [end()])).to.equal(false);
  });

  it("is asked in the other side's name, under a number that is below any, along the way to it", async () => {
    await isThere([kamailio(200)], [end('<sip:proxy;lr>')]);
    const [[method, uri, hop, , headers] = []] = asked;
    expect([method, uri, hop]).to.deep.equal([
      'OPTIONS',
      'sip:mv.token@192.0.2.1:5060',
      'sip:192.0.2.9:5060',
    ]);
    expect(String(headers).split('\r\n')).to.include.members([
      'From: <sip:192.0.2.1:5060>;tag=theirs',
      'To: <sip:192.0.2.1:5060>;tag=its',
      'Call-ID: c@d',
      'CSeq: 1 OPTIONS',
      'X-MV-Probe: 1',
      'Route: <sip:proxy;lr>',
    ]);
  });
});
