import { expect } from 'chai';
import { pino } from 'pino';
import { Calls } from '../../../control/calls/calls.ts';
import { Lifecycle } from '../../../control/calls/lifecycle.ts';
import type { Change } from '../../../control/calls/journal.ts';
import { docsPage } from '../../../control/http/docs/page.ts';
import { openApiDocument } from '../../../control/http/openapi.ts';
import { Ids } from '../../../control/lib/ids.ts';
import { checkEvent, EVENTS } from '../../support/events.ts';

describe('the documented events', () => {
  it('have examples that are what they describe, made for the event they stand at', () => {
    for (const [name, { event, example }] of Object.entries(EVENTS)) {
      expect(event).to.equal(name);
      checkEvent(example);
      expect(example).to.have.nested.property('data.event_key', `call_20260529T120000.000000000:${name}`);
    }
  });

  it('are in the OpenAPI document and on the page, each with its example', () => {
    const document = openApiDocument([], { version: '1', events: Object.values(EVENTS) });
    expect(Object.keys(document.webhooks ?? {})).to.have.members(Object.keys(EVENTS));
    const page = docsPage(document);
    for (const { example } of Object.values(EVENTS)) {
      expect(page).to.contain(JSON.stringify(example, null, 2).replaceAll('"', '&quot;'));
    }
  });

  it('refuse what they do not document', () => {
    const example = EVENTS['call.answered']?.example as { call: object };
    expect(() => checkEvent({ ...example, secret: 1 })).to.throw(/secret/);
    expect(() => checkEvent({ ...example, call: { ...example.call, status: 'ringing' } })).to.throw(/status/);
    expect(() => checkEvent({ event: 'call.dreamt' })).to.throw('not documented');
  });

  it('are what calls emit', () => {
    const changes: Change[] = [];
    const calls = new Calls({
      lifecycle: new Lifecycle(pino({ enabled: false })),
      ids: new Ids(0),
      journal: {
        accepting: true,
        append: (change: Change) => changes.push(change),
        onCommit: () => undefined,
      } as never,
      hasWebhook: () => false,
    });
    const create = () =>
      calls.createInbound({
        customerId: 'cust_1',
        applicationId: 'app_1',
        from: 'anonymous',
        to: '+15551230002',
        routeMode: 'webhook',
        routingTarget: 'app_1',
      });
    const call = create();
    calls.parked(call, 'uuid', 'node');
    calls.answered(call);
    calls.setVariable(call, 'language', 'de');
    calls.gathered(call, {
      digits: '',
      status: 'timeout',
      timed_out: true,
      min_digits: 1,
      max_digits: 4,
      timeout_seconds: 5,
      finish_on_key: '',
    });
    for (const event of ['leg.ringing', 'leg.answered'] as const)
      calls.leg(call, event, { destination: '+15557777' });
    calls.leg(call, 'leg.ended', {
      destination: '+15557777',
      trunk_id: 'trunk_1',
      reached: true,
      cause: 'NORMAL_CLEARING',
      ended_by: 'callee',
      billsec_seconds: 3,
      cost_amount: '0.01',
      cost_currency: 'EUR',
    });
    calls.end(call, { hangup: { by: 'api', cause: 'NORMAL_CLEARING' } });
    calls.end(create(), { hangup: { by: 'caller', cause: 'ORIGINATOR_CANCEL', sip_code: 487 } });
    calls.end(create(), {
      hangup: { by: 'platform', cause: 'MEDIA_NODE_LOST' },
      failure: { code: 'media_unavailable', message: 'lost' },
    });
    const transferred = create();
    calls.answered(transferred);
    calls.end(transferred, {
      hangup: { by: 'platform', cause: 'NORMAL_CLEARING', sip_code: 200 },
      failure: { code: 'transfer_unreachable', message: 'busy' },
    });
    const sent = changes.flatMap(({ outbox }) => outbox);
    for (const { body } of sent) checkEvent(JSON.parse(body));
    const failed = sent
      .filter(({ event }) => event === 'call.failed')
      .map(({ body }) => (JSON.parse(body) as { data: Record<string, unknown> }).data);
    expect(failed.at(-1), 'a success of SIP is no code of a failure')
      .to.deep.include({ code: 'transfer_unreachable' })
      .and.to.not.have.property('sip_code');
    expect(new Set(sent.map(({ event }) => event))).to.deep.equal(
      new Set([
        'call.created',
        'call.answered',
        'call.gathered',
        'leg.ringing',
        'leg.answered',
        'leg.ended',
        'call.completed',
        'call.canceled',
        'call.failed',
      ]),
    );
    expect(
      new Set(sent.map(({ status }) => status)),
      'without a webhook they are kept for the live stream alone',
    ).to.deep.equal(new Set(['none']));
  });
});
