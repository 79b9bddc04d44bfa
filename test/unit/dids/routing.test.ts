import { expect } from 'chai';
import { refusePrivateTargets, targetFor } from '../../../control/dids/routing.ts';
import { rejectCode, sipTargets, type Did } from '../../../control/dids/schema.ts';
import { ApiError } from '../../../control/lib/errors.ts';

const problem = (run: () => unknown): string => {
  try {
    run();
    return 'none';
  } catch (error) {
    return error instanceof ApiError ? `${error.details?.[0]?.path}: ${error.message}` : String(error);
  }
};

const did = (more: Partial<Did>): Did => ({
  id: 'did_1',
  customerId: 'cust_1',
  applicationId: undefined,
  number: '+15551230002',
  provider: undefined,
  status: 'active',
  routeMode: 'webhook',
  routeTarget: undefined,
  createdAt: new Date(0),
  updatedAt: new Date(0),
  ...more,
});

describe('the route target of a number', () => {
  it('belongs to the route mode', () => {
    expect(targetFor('webhook', undefined)).to.equal(undefined);
    expect(targetFor('reject', {})).to.equal(undefined);
    expect(targetFor('reject', { sip_code: 486 })).to.deep.equal({ sip_code: 486 });
    expect(targetFor('sip', { sip_uri: ['sip:a@x.example'] })).to.deep.equal({
      sip_uri: ['sip:a@x.example'],
    });
    expect(problem(() => targetFor('sip', undefined))).to.match(/^route_target.sip_uri: .*required/);
    expect(problem(() => targetFor('sip', { sip_uri: 'sip:a@x.example', sip_code: 486 }))).to.match(
      /^route_target.sip_code: .*not used in route mode sip/,
    );
    expect(problem(() => targetFor('webhook', { sip_uri: 'sip:a@x.example' }))).to.match(
      /^route_target.sip_uri: .*not used in route mode webhook/,
    );
    expect(problem(() => targetFor('reject', { sip_uri: 'sip:a@x.example' }))).to.match(
      /not used in route mode reject/,
    );
  });

  it('is read as an ordered list of URIs, or a code that is 480 unless another was asked for', () => {
    expect(sipTargets(did({ routeMode: 'sip', routeTarget: { sip_uri: 'sip:a@x.example' } }))).to.deep.equal([
      'sip:a@x.example',
    ]);
    expect(
      sipTargets(did({ routeMode: 'sip', routeTarget: { sip_uri: ['sip:b@x.example', 'sip:a@x.example'] } })),
    ).to.deep.equal(['sip:b@x.example', 'sip:a@x.example']);
    expect(sipTargets(did({ routeMode: 'webhook' }))).to.deep.equal([]);
    expect(rejectCode(did({ routeMode: 'reject' }))).to.equal(480);
    expect(rejectCode(did({ routeMode: 'reject', routeTarget: { sip_code: 603 } }))).to.equal(603);
  });

  it('is no private address where that is refused, and the problem names which of the list is', () => {
    for (const host of [
      '127.0.0.1',
      '10.1.2.3',
      '192.168.0.1',
      '169.254.169.254',
      '0.0.0.0',
      '[::1]',
      '[fd00::1]',
      '[::ffff:10.0.0.1]',
      'localhost',
      'LOCALHOST',
      'pbx.localhost',
    ]) {
      expect(
        problem(() => refusePrivateTargets({ sip_uri: `sip:a@${host}` })),
        host,
      ).to.match(/^route_target.sip_uri: .*private or local/);
    }
    expect(
      problem(() => refusePrivateTargets({ sip_uri: ['sip:a@8.8.8.8', 'sip:a@10.0.0.1:5060'] })),
    ).to.match(/^route_target.sip_uri\[1\]/);
    expect(
      problem(() =>
        refusePrivateTargets({ sip_uri: ['sip:a@8.8.8.8', 'sip:a@pbx.example.com', 'sip:a@[2606:4700::1]'] }),
      ),
    ).to.equal('none');
    expect(problem(() => refusePrivateTargets(undefined))).to.equal('none');
  });
});
