import { expect } from 'chai';
import { ADDRESS, Edge, NUMBER } from './edge.ts';
import { codeOf, RawSip, requestText } from './raw-sip.ts';

describe('A burst of calls at the SIP edge that the control plane does not answer', function () {
  this.timeout(90_000);

  let edge: Edge;
  let carrier: RawSip;

  before(async () => {
    edge = await Edge.start({
      environment: { DECISION_WORKERS: '1', DECISION_MS: '100', DECISION_GUARD_MS: '20000' },
    });
    carrier = await RawSip.open(ADDRESS.operator);
  });
  after(async () => {
    carrier?.close();
    await edge?.stop();
  });

  it('is refused, and those that come after it are decided', async () => {
    edge.control.answer = () => 'silence';
    const ids = Array.from({ length: 800 }, (_, index) => `burst-${index}@raw`);
    const texts = new Map(
      ids.map((callId) => [callId, requestText(carrier, { user: NUMBER.webhook, callId })]),
    );
    const refused = (): Set<string | undefined> =>
      new Set(
        carrier.received
          .filter((text) => codeOf(text) === 503)
          .map((text) => /^Call-ID: (.*)\r$/m.exec(text)?.[1]),
      );
    // What is lost, since it comes too fast, is repeated (RFC 3261 §17.1.1.2).
    for (let tries = 0; tries < 30 && refused().size < ids.length; tries++) {
      const before = refused();
      for (const [callId, text] of texts) if (!before.has(callId)) carrier.send(text, edge.sip);
      await carrier
        .until(() => refused().size === ids.length || undefined, 'all refusals', 2000)
        .catch(() => undefined);
    }
    expect(refused().size).to.equal(ids.length);
    edge.control.answer = () => ({ action: 'reject', code: 486, reason: 'Busy Here' });
    expect(
      codeOf(
        await carrier.ask(
          requestText(carrier, { user: NUMBER.webhook, callId: 'after-the-burst@raw' }),
          edge.sip,
        ),
      ),
    ).to.equal(486);
  });
});
