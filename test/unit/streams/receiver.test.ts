import { expect } from 'chai';
import { createAgents, createResolve } from '../../../control/lib/guarded-agent.ts';
import { Receiver } from '../../../control/streams/receiver.ts';
import { StreamReceiver } from '../../support/stream-receiver.ts';

describe('the connection to a receiver', () => {
  it('takes a bounded backlog for a receiver that does not read, and then nothing more', async () => {
    const server = await StreamReceiver.open();
    server.deaf = true;
    const agents = createAgents({
      allowPrivate: true,
      resolve: createResolve(),
      connectTimeoutMs: 1000,
      maxSocketsPerHost: 4,
    });
    const opened = await new Promise<Receiver>((resolve, reject) => {
      const receiver = new Receiver({
        url: server.url,
        headers: {},
        agents,
        onOpen: () => resolve(receiver),
        onText: () => undefined,
        onEnd: ({ message }) => reject(new Error(message)),
      });
    });
    const text = JSON.stringify('x'.repeat(8 * 1024));
    let sent = 0;
    // What the operating systems hold on both sides is some megabytes.
    for (let quiet = 0; quiet < 5 && sent < 10_000;) {
      const before = sent;
      while (opened.send(text)) sent++;
      quiet = sent === before ? quiet + 1 : 0;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(sent).to.be.within(16, 9999);
    expect(opened.send(text)).to.equal(false);
    opened.close();
    server.close();
    agents.destroy();
  });
});
