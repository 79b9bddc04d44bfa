import { expect } from 'chai';
import { callBody, orderOf } from '../../../control/placing/call-order.ts';
import { parse } from '../../../control/http/endpoint.ts';
import { ApiError } from '../../../control/lib/errors.ts';

const SEED = { from: '+15551230001', to: '+15551230002', metadata: { campaign: 'dev' }, record: true };
const CALLER = {
  kind: 'customer',
  applicationId: 'app_1',
  customerId: 'cust_1',
  applicationStatus: 'active',
  customerStatus: 'active',
} as const;

/** The paths of what is wrong with a body. */
function wrong(more: Record<string, unknown>): string[] {
  try {
    parse(callBody, { ...SEED, ...more });
    return [];
  } catch (error) {
    return error instanceof ApiError ? (error.details ?? []).map(({ path }) => path) : [String(error)];
  }
}

const deep = (levels: number): unknown => (levels === 0 ? 1 : { a: deep(levels - 1) });

describe('the order of a call', () => {
  it("is the seed's as written: record goes into the metadata, and who calls is who the key says", () => {
    expect(
      orderOf(CALLER, parse(callBody, { ...SEED, application_id: 'app_of_somebody_else' })),
    ).to.deep.equal({
      customerId: 'cust_1',
      applicationId: 'app_1',
      from: '+15551230001',
      to: '+15551230002',
      metadata: { campaign: 'dev', record: true },
      recordFromAnswer: true,
      answerUrl: undefined,
      actions: undefined,
      ringSeconds: 60,
      maxDurationSeconds: undefined,
      trunkId: undefined,
    });
    expect(
      orderOf(CALLER, parse(callBody, { from: '+15551230001', to: '+15551230002' })).metadata,
    ).to.deep.equal({});
  });

  it("records by its own record: true alone: one inside of the metadata is the customer's, and stays", () => {
    for (const [more, recordFromAnswer, record] of [
      [{}, false, 'by hand'],
      [{ record: false }, false, 'by hand'],
      [{ record: true }, true, true],
    ] as const) {
      const order = orderOf(
        CALLER,
        parse(callBody, { from: SEED.from, to: SEED.to, metadata: { record: 'by hand' }, ...more }),
      );
      expect([order.recordFromAnswer, order.metadata.record]).to.deep.equal([recordFromAnswer, record]);
    }
  });

  it('names each field that is not valid', () => {
    expect(wrong({ from: '15551230001' })).to.deep.equal(['from']);
    expect(wrong({ to: 'sip:desk@example.com' })).to.deep.equal(['to']);
    expect(wrong({ to: undefined })).to.deep.equal(['to']);
    expect(wrong({ metadata: [] })).to.deep.equal(['metadata']);
    expect(wrong({ record: 'yes' })).to.deep.equal(['record']);
    expect(wrong({ ring_timeout_seconds: 4 })).to.deep.equal(['ring_timeout_seconds']);
    expect(wrong({ ring_timeout_seconds: 121 })).to.deep.equal(['ring_timeout_seconds']);
    expect(wrong({ max_duration_seconds: 0 })).to.deep.equal(['max_duration_seconds']);
    expect(wrong({ answer_url: 'https://a.example/', actions: [] })).to.deep.equal(['actions']);
    expect(wrong({ webhook_url: 'https://a.example/' })).to.deep.equal(['webhook_url']);
  });

  it('takes no metadata that the database could not keep', () => {
    expect(wrong({ metadata: { a: 'x'.repeat(4080) } })).to.deep.equal([]);
    expect(wrong({ metadata: { a: 'é'.repeat(2048) } })).to.deep.equal(['metadata']);
    expect(wrong({ metadata: deep(16) })).to.deep.equal([]);
    expect(wrong({ metadata: deep(17) })).to.deep.equal(['metadata']);
    expect(
      wrong({ metadata: JSON.parse(`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`) as unknown }),
    ).to.deep.equal(['metadata']);
    expect(wrong({ metadata: { a: ['\ud83d'] } })).to.deep.equal(['metadata']);
    expect(wrong({ metadata: { '\ud83d': 1 } })).to.deep.equal(['metadata']);
  });
});
