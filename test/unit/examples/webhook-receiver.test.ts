import { expect } from 'chai';
import { WebhookReceiver, verify, type MiniVoiceEvent } from '../../../examples/webhook-receiver/receiver.ts';
import { startReceiver } from '../../../examples/webhook-receiver/server.ts';
import { createGuardedFetch } from '../../../control/lib/guarded-fetch.ts';
import { deliver } from '../../../control/webhooks/deliver.ts';
import { sign } from '../../../control/webhooks/signature.ts';
import { EVENTS } from '../../support/events.ts';

const BODY = JSON.stringify(EVENTS['call.completed']?.example);
const NOW = Date.parse('2026-05-29T12:00:00Z');
const headersOf = (secrets: string[], body = BODY, id = 'evt_1', at = NOW): Record<string, string> => ({
  'x-minivoice-event-id': id,
  'x-minivoice-attempt': '1',
  ...Object.fromEntries(
    Object.entries(sign(secrets, body, at / 1000)).map(([name, value]) => [name.toLowerCase(), value]),
  ),
});

describe('the example of a webhook receiver', () => {
  it('takes what the platform sends, once for each event, and has sent again what could not be handled', async () => {
    const handled: MiniVoiceEvent[] = [];
    let failing = true;
    const receiver = await startReceiver({
      secret: 'a secret',
      onEvent: (event) => {
        if (failing) throw new Error('not now');
        handled.push(event);
      },
    });
    const fetch = createGuardedFetch({ allowPrivate: true });
    const send = async (secrets: string[]): Promise<number | undefined> =>
      (
        await deliver(
          { event: 'call.completed', eventId: 'evt_1', attempts: 0, body: BODY },
          { url: receiver.url, secrets },
          { fetch: fetch.fetch, now: () => new Date(), signal: new AbortController().signal },
        )
      ).status;
    expect(await send(['a secret'])).to.equal(500);
    failing = false;
    expect(await send(['a new secret', 'a secret'])).to.equal(200);
    expect(await send(['a secret'])).to.equal(200);
    expect(await send(['another'])).to.equal(401);
    expect(await send([])).to.equal(401);
    expect(handled.map(({ id, event, call }) => [id, event, call.status])).to.deep.equal([
      ['evt_1', 'call.completed', 'completed'],
    ]);
    expect(receiver.duplicates()).to.equal(1);
    fetch.close();
    await receiver.close();
  });

  it('of two at the same moment handles one, and answers both by what became of it', async () => {
    let release = (): void => undefined;
    let handled = 0;
    const receiver = new WebhookReceiver({
      secret: 's',
      now: () => NOW,
      onEvent: () => {
        handled++;
        return new Promise<void>((resolve) => (release = resolve));
      },
    });
    const both = [
      receiver.receive(headersOf(['s']), Buffer.from(BODY)),
      receiver.receive(headersOf(['s']), Buffer.from(BODY)),
    ];
    await new Promise((resolve) => setImmediate(resolve));
    release();
    expect([await Promise.all(both), handled]).to.deep.equal([[200, 200], 1]);
  });

  it('believes no signature that is old, of another body, not whole, or missing', () => {
    const headers = headersOf(['s']);
    expect(verify('s', headers, BODY, { now: NOW + 299_000 })).to.equal(true);
    expect(verify('s', headers, BODY, { now: NOW + 301_000 })).to.equal(false);
    expect(verify('s', headers, BODY, { now: NOW - 301_000 })).to.equal(false);
    expect(verify('s', headers, `${BODY} `, { now: NOW })).to.equal(false);
    expect(
      verify('s', { ...headers, 'x-minivoice-timestamp': String(NOW / 1000 + 1) }, BODY, { now: NOW }),
    ).to.equal(false);
    expect(
      verify(
        's',
        { ...headers, 'x-minivoice-signature': headers['x-minivoice-signature']?.slice(0, -2) },
        BODY,
        { now: NOW },
      ),
    ).to.equal(false);
    expect(verify('s', {}, BODY, { now: NOW })).to.equal(false);
  });
});
