import { expect } from 'chai';
import { createHmac } from 'node:crypto';
import { startCallForwarding } from '../../../examples/call-forwarding/server.ts';
import { PROMPTS, startGatherAndTransfer } from '../../../examples/gather-and-transfer/server.ts';
import { startOverview } from '../../../examples/overview/server.ts';
import { startRecordAndTranscribe, type Recording } from '../../../examples/record-and-transcribe/server.ts';
import type { Served } from '../../../examples/serve.ts';
import { parseActions } from '../../../control/flow/schema.ts';

const secret = 'a secret for tests';

/** Signed here on its own, from the words of the contract. */
function signed(text: string): Record<string, string> {
  const seconds = Math.floor(Date.now() / 1000);
  return {
    'x-minivoice-timestamp': String(seconds),
    'x-minivoice-signature': `v1=${createHmac('sha256', secret).update(`${seconds}.${text}`).digest('hex')}`,
  };
}

describe('the small examples', () => {
  const open: Served[] = [];

  afterEach(async () => {
    for (const served of open.splice(0)) await served.close();
  });

  async function keep(starting: Promise<Served>): Promise<Served> {
    const served = await starting;
    open.push(served);
    return served;
  }

  /** What it answers; the platform's own parser must take it. */
  async function ask({ url }: Served, path: string): Promise<{ actions: unknown[] }> {
    const response = await fetch(url + path, { headers: signed(path.split('?')[1] ?? '') });
    const payload = (await response.json()) as { actions: unknown[] };
    parseActions(payload);
    return payload;
  }

  const deliver = ({ url }: Served, id: string, body: string, headers = signed(body)) =>
    fetch(`${url}/webhooks`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json', 'x-minivoice-event-id': id, ...headers },
    });

  it('overview is one sentence', async () => {
    expect(await ask(await keep(startOverview({ secret })), '/answer?call_id=c')).to.deep.equal({
      actions: [{ say: { text: 'Thanks for calling.' } }],
    });
  });

  it('call-forwarding answers the JSON of the documented example, word for word', async () => {
    const served = await keep(startCallForwarding({ secret, forwardTo: '+15551230002' }));
    expect(await ask(served, '/answer?call_id=c')).to.deep.equal({
      actions: [
        { say: { text: 'Please hold while we connect you.' } },
        { type: 'transfer', destination: '+15551230002' },
      ],
    });
  });

  it('gather-and-transfer branches by the digit, and asks once more when there is none', async () => {
    const served = await keep(
      startGatherAndTransfer({
        secret,
        departments: { sales: '+15551230002', support: 'sip:desk@pbx.example' },
      }),
    );
    const menu = (attempt: number) => [
      { gather: { prompt: PROMPTS.menu, num_digits: 1, timeout_seconds: 7 } },
      { type: 'redirect', url: `${served.url}/chosen?attempt=${attempt}` },
    ];
    expect((await ask(served, '/answer?call_id=c')).actions).to.deep.equal(menu(1));
    expect((await ask(served, '/chosen?attempt=1&digits=1')).actions).to.deep.equal([
      { type: 'transfer', destination: '+15551230002' },
    ]);
    expect((await ask(served, '/chosen?attempt=1&digits=2')).actions[0]).to.deep.equal({
      type: 'bridge',
      destination: 'sip:desk@pbx.example',
      timeout_seconds: 20,
    });
    expect((await ask(served, '/chosen?attempt=1&digits=')).actions).to.deep.equal([
      { say: { text: PROMPTS.again } },
      ...menu(2),
    ]);
    expect((await ask(served, '/chosen?attempt=2&digits=9')).actions).to.deep.equal([
      { say: { text: PROMPTS.goodbye } },
    ]);
  });

  it('record-and-transcribe records before it transfers, and tells of the recording once', async () => {
    const told: [string, Recording][] = [];
    const served = await keep(
      startRecordAndTranscribe({
        secret,
        transferTo: '+15551230002',
        onRecording: (...what) => told.push(what),
      }),
    );
    expect((await ask(served, '/answer?call_id=c')).actions).to.deep.equal([
      { type: 'start_recording' },
      { say: { text: 'This call may be recorded.' } },
      { type: 'transfer', destination: '+15551230002' },
    ]);
    const data = { id: 'rec_c', duration_seconds: 4, file_url: 'https://example.com/audio' };
    const body = JSON.stringify({ event: 'recording.completed', created_at: '', call: { id: 'c' }, data });
    for (let i = 0; i < 2; i++) expect((await deliver(served, 'e1', body)).status).to.equal(200);
    expect(told).to.deep.equal([['c', data]]);
  });

  it('nobody but MiniVoice is answered, and nothing breaks them', async () => {
    const served = await keep(startOverview({ secret }));
    expect((await fetch(`${served.url}/answer?call_id=c`)).status).to.equal(401);
    expect((await fetch(`${served.url}/answer?call_id=d`, { headers: signed('call_id=c') })).status).to.equal(
      401,
    );
    expect((await fetch(`${served.url}/nothing`, { headers: signed('') })).status).to.equal(404);
    expect((await deliver(served, 'e', '{}', {})).status).to.equal(401);
    expect((await deliver(served, 'e', 'x'.repeat(300_000))).status).to.equal(400);
  });
});
