import { expect } from 'chai';
import { createHmac } from 'node:crypto';
import { parseActions } from '../../../control/flow/schema.ts';
import { PROMPTS, startConferenceRoom } from '../../../examples/conference-room/server.ts';

const secret = 'a secret for tests';

describe('examples/conference-room', () => {
  let server: Awaited<ReturnType<typeof startConferenceRoom>>;

  before(async () => (server = await startConferenceRoom({ secret, hostPin: '4711' })));
  after(() => server.close());

  async function ask(
    path: string,
    query: string,
    key = secret,
  ): Promise<{ status: number; actions: unknown[] }> {
    const seconds = Math.floor(Date.now() / 1000);
    const signature = createHmac('sha256', key).update(`${seconds}.${query}`).digest('hex');
    const response = await fetch(`${server.url}${path}?${query}`, {
      headers: { 'x-minivoice-timestamp': String(seconds), 'x-minivoice-signature': `v1=${signature}` },
    });
    const { actions = [] } = (await response.json()) as { actions?: unknown[] };
    if (response.status === 200) parseActions({ actions });
    return { status: response.status, actions };
  }

  it('asks for the meeting, twice, and then for the role', async () => {
    const question = (attempt: number): unknown[] => [
      { gather: { prompt: PROMPTS.room, num_digits: 4, timeout_seconds: 8 } },
      { redirect: { url: `${server.url}/room?attempt=${attempt}` } },
    ];
    expect((await ask('/answer', 'call_id=call_1')).actions).to.deep.equal(question(1));
    expect((await ask('/room', 'attempt=1&digits=12&gather_status=too_few_digits')).actions).to.deep.equal([
      { say: { text: PROMPTS.unknown } },
      ...question(2),
    ]);
    expect((await ask('/room', 'attempt=2&digits=')).actions).to.deep.equal([
      { say: { text: PROMPTS.goodbye } },
    ]);
    expect((await ask('/room', 'attempt=1&digits=1234')).actions.at(-1)).to.deep.equal({
      redirect: { url: `${server.url}/enter?room=1234` },
    });
  });

  it('lets in the host, who ends the meeting, guests, and those who only listen', async () => {
    const room = 'meeting-1234';
    const enters = async (digits: string): Promise<unknown> =>
      (await ask('/enter', `room=1234&digits=${digits}`)).actions[1];
    expect(await enters('4711')).to.deep.equal({ conference: { room, end_on_exit: true } });
    expect(await enters('2')).to.deep.equal({ conference: { room, mute: true } });
    expect(await enters('1')).to.deep.equal({ conference: { room } });
    expect(await enters('')).to.deep.equal({ conference: { room } });
    expect((await ask('/enter', 'room=1234&digits=1')).actions.at(-1)).to.deep.equal({
      say: { text: PROMPTS.over },
    });
  });

  it('answers nobody but MiniVoice, and knows no other rooms', async () => {
    expect((await ask('/answer', 'call_id=call_1', 'another')).status).to.equal(401);
    expect((await ask('/enter', 'room=..&digits=1')).status).to.equal(404);
  });
});
