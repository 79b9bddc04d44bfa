import { createHmac } from 'node:crypto';
import { expect } from 'chai';
import { WebSocket } from 'ws';
import { startMediaStream } from '../../../examples/media-stream/server.ts';
import { encode } from '../../../cli/phone/codec.ts';
import { silence, tone } from '../../../cli/phone/sound.ts';

const headers = (secret: string) => {
  const timestamp = String(Math.floor(Date.now() / 1000));
  return {
    'x-minivoice-timestamp': timestamp,
    'x-minivoice-signature': `v1=${createHmac('sha256', secret).update(`${timestamp}.`).digest('hex')}`,
  };
};

describe('the media-stream example', () => {
  let server: Awaited<ReturnType<typeof startMediaStream>>;
  beforeEach(async () => {
    server = await startMediaStream({ secret: 's' });
  });
  afterEach(() => server.close());

  const connect = (secret: string): Promise<WebSocket> =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(`${server.url.replace('http', 'ws')}/audio`, { headers: headers(secret) });
      socket.once('open', () => resolve(socket)).once('error', reject);
    });

  it('answers with a stream to itself, to MiniVoice alone', async () => {
    expect((await fetch(`${server.url}/answer`)).status).to.equal(401);
    const { actions } = (await (await fetch(`${server.url}/answer`, { headers: headers('s') })).json()) as {
      actions: unknown[];
    };
    expect(actions[1]).to.deep.equal({
      start_stream: { stream_url: `${server.url.replace('http', 'ws')}/audio`, track: 'inbound' },
    });
    expect(await connect('another').catch((error: Error) => error.message)).to.contain('401');
  });

  it('says again what was said before a pause', async () => {
    const socket = await connect('s');
    const received: { event: string; media?: { payload: string } }[] = [];
    const mark = new Promise<void>((resolve) =>
      socket.on('message', (data) => {
        received.push(JSON.parse(String(data as Buffer)) as (typeof received)[number]);
        if (received.at(-1)?.event === 'mark') resolve();
      }),
    );
    socket.send(
      JSON.stringify({
        event: 'start',
        streamSid: 'stream_1',
        start: { callSid: 'call_1', customParameters: {} },
      }),
    );
    const say = (source: () => Int16Array, frames: number) => {
      for (let i = 0; i < frames; i++)
        socket.send(
          JSON.stringify({
            event: 'media',
            media: { track: 'inbound', payload: encode('PCMU', source()).toString('base64') },
          }),
        );
    };
    say(silence(), 20);
    say(tone(440), 50);
    say(silence(), 40);
    await mark;
    expect(received.map(({ event }) => event)).to.deep.equal(['media', 'mark']);
    expect(Buffer.from(received[0]?.media?.payload ?? '', 'base64').length / 160).to.be.within(50, 80);
    socket.close();
  });
});
