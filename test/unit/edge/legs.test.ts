import { expect } from 'chai';
import type { Call } from '../../../control/calls/call.ts';
import { Directory } from '../../../control/edge/directory.ts';
import { Legs } from '../../../control/edge/legs.ts';
import type { Trunk } from '../../../control/trunks/schema.ts';

const trunk = (id: string, more: Partial<Trunk>) => ({ id, isActive: true, proxy: `${id}.example`, transport: 'udp', priority: 10, weight: 10, numberFormat: 'e164', callerId: 'passthrough', ...more }) as Trunk;
const none = { loadAll: () => Promise.resolve([]), get: () => Promise.resolve(undefined) };
const call = { id: 'call_1', customerId: 'cust_a', direction: 'inbound', from: '+15551111', to: '+15552222' } as Call;

describe('a second leg', () => {
  const legs = async (trunks: Trunk[], allowPrivate = false): Promise<Legs> => {
    const directory = new Directory({ customers: none, applications: none, dids: none, trunks: { ...none, loadAll: () => Promise.resolve(trunks) } });
    await directory.load();
    return new Legs({ directory, allowPrivate });
  };

  it("a number goes through the customer's own trunks, then the operator's, by priority and weight, and no one else's", async () => {
    const route = (await legs([
      trunk('operator', {}), trunk('heavy', { customerId: 'cust_a', weight: 50 }), trunk('light', { customerId: 'cust_a' }), trunk('first', { customerId: 'cust_a', priority: 1 }),
      trunk('other', { customerId: 'cust_b' }), trunk('off', { isActive: false }),
    ])).route(call, '+15553333', undefined);
    expect(route?.uris).to.deep.equal(['sip:+15553333@first.example', 'sip:+15553333@heavy.example', 'sip:+15553333@light.example', 'sip:+15553333@operator.example']);
  });

  it('a number is written as the trunk wants it, over its transport and port', async () => {
    expect((await legs([trunk('t', { numberFormat: 'plus_less', port: 5070, transport: 'tcp' })])).route(call, '+15553333', undefined)?.uris).to.deep.equal(['sip:15553333@t.example:5070;transport=tcp']);
  });

  it("the caller is shown by the trunk's rule, unless the action names one", async () => {
    expect((await legs([trunk('t', {})])).route(call, '+15553333', undefined)).to.deep.include({ from: '+15551111' }).and.have.nested.property('headers.Diversion', '<sip:+15552222@minivoice.invalid>;reason=unconditional');
    expect((await legs([trunk('t', { callerId: 'did' })])).route(call, '+15553333', undefined)).to.deep.include({ from: '+15552222' }).and.not.have.nested.property('headers.Diversion');
    expect((await legs([trunk('t', { callerId: 'fixed', callerIdNumber: '+15554444' })])).route(call, '+15553333', undefined)).to.include({ from: '+15554444' });
    expect((await legs([trunk('t', { callerId: 'did' })])).route(call, '+15553333', '+15555555')).to.include({ from: '+15555555' });
  });

  it('without a trunk there is no way to a number', async () => {
    expect((await legs([])).route(call, '+15553333', undefined)).to.equal(undefined);
  });

  it('a SIP URI is taken as it is, but not to a private address outside the development profile', async () => {
    expect((await legs([])).route(call, 'sip:desk@pbx.example', undefined)?.uris).to.deep.equal(['sip:desk@pbx.example']);
    expect((await legs([])).route(call, 'sip:desk@10.0.0.1', undefined)).to.equal(undefined);
    expect((await legs([], true)).route(call, 'sip:desk@127.0.0.1', undefined)?.uris).to.deep.equal(['sip:desk@127.0.0.1']);
  });
});
