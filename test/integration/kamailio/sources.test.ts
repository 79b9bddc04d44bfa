import { expect } from 'chai';
import { ADDRESS, Edge, NUMBER } from './edge.ts';
import { codeOf, RawSip, requestText, withoutTransaction } from './raw-sip.ts';

describe('Who may call in at the SIP edge', () => {
  let edge: Edge;
  let stranger: RawSip;
  let owner: RawSip;
  let other: RawSip;
  let operator: RawSip;

  before(async () => {
    edge = await Edge.start();
    stranger = await RawSip.open(ADDRESS.stranger);
    owner = await RawSip.open(ADDRESS.owner);
    other = await RawSip.open(ADDRESS.other);
    operator = await RawSip.open(ADDRESS.operator);
  });
  after(async () => {
    for (const socket of [stranger, owner, other, operator]) socket?.close();
    await edge?.stop();
  });

  it('an unlisted source gets the same refusal whatever it sends, and nothing that names the server', async () => {
    const requests = [
      { user: NUMBER.webhook },
      { user: NUMBER.reject },
      { user: NUMBER.suspended },
      { user: NUMBER.unknown },
      { user: '' },
      { method: 'OPTIONS' },
      { method: 'REGISTER' },
      { method: 'MESSAGE' },
      { method: 'BYE' },
      { user: NUMBER.webhook, maxForwards: 0 },
      { user: NUMBER.webhook, headers: ['Require: nothing-known'] },
    ];
    const replies = [];
    for (const request of requests) {
      replies.push(
        await stranger
          .ask(requestText(stranger, request), edge.sip)
          .catch((error: unknown) => `${JSON.stringify(request)}: ${String(error)}`),
      );
    }
    expect(replies.filter((reply) => codeOf(reply) !== 403)).to.deep.equal([]);
    expect(new Set(replies.map(withoutTransaction)).size).to.equal(1);
    expect(replies[0]).not.to.match(/^(Server|User-Agent|Warning|Allow|Supported):/im);
    expect(edge.control.routes).to.be.empty;
  });

  it('a number is unknown to a trunk that may not deliver it', async () => {
    const foreign = await other.ask(requestText(other, { user: NUMBER.webhook }), edge.sip);
    const unknown = await other.ask(requestText(other, { user: NUMBER.unknown }), edge.sip);
    const rejected = await other.ask(requestText(other, { user: NUMBER.reject }), edge.sip);
    expect(codeOf(foreign)).to.equal(404);
    expect(withoutTransaction(foreign)).to.equal(withoutTransaction(unknown));
    expect(withoutTransaction(rejected)).to.equal(withoutTransaction(unknown));
    expect(edge.control.routes).to.be.empty;
  });

  it("a number is delivered by its owner's trunk and by a carrier of the operator's, each under its own id", async () => {
    for (const trunk of [owner, operator])
      await trunk.ask(requestText(trunk, { user: NUMBER.webhook }), edge.sip);
    expect(edge.control.routes.map(({ trunk, to, source }) => ({ trunk, to, source }))).to.deep.equal([
      { trunk: 'trunk_owner', to: NUMBER.webhook, source: `${ADDRESS.owner}:${owner.port}` },
      { trunk: 'trunk_operator', to: NUMBER.webhook, source: `${ADDRESS.operator}:${operator.port}` },
    ]);
    expect(edge.control.tokens.at(-1)).to.equal('edge-token-of-the-tests');
  });

  it('a trunk that is taken away is a stranger with the next call', async () => {
    await edge.rpc('htable.delete', ['trunks', ADDRESS.owner]);
    expect(codeOf(await owner.ask(requestText(owner, { user: NUMBER.webhook }), edge.sip))).to.equal(403);
    await edge.push();
    expect(codeOf(await owner.ask(requestText(owner, { user: NUMBER.webhook }), edge.sip))).to.equal(480);
  });

  it('an insistent unlisted source gets silence, and no trunk pays for it', async () => {
    const insistent = await RawSip.open('127.0.0.66');
    try {
      for (let i = 0; i < 200; i++)
        insistent.send(requestText(insistent, { user: NUMBER.webhook }), edge.sip);
      // Several workers read the socket: all of it has been seen once nothing more has come of it while each
      // of them was kept busy.
      const settled = async (): Promise<number> => {
        for (let before = -1; before !== insistent.received.length;) {
          before = insistent.received.length;
          for (let i = 0; i < 20; i++)
            await operator.ask(requestText(operator, { user: NUMBER.unknown }), edge.sip);
        }
        return insistent.received.length;
      };
      while (!JSON.stringify(await edge.rpc('htable.dump', ['bans']).catch(() => '')).includes('127.0.0.66'))
        await settled();
      const answered = await settled();
      expect(answered).to.be.lessThan(60);
      insistent.send(requestText(insistent, { method: 'OPTIONS' }), edge.sip);
      expect(await settled()).to.equal(answered);
    } finally {
      insistent.close();
    }
  });

  it('a trunk may send as fast as it likes', async () => {
    const from = operator.received.length;
    for (let sent = 20; sent <= 400; sent += 20) {
      for (let i = 0; i < 20; i++) operator.send(requestText(operator, { user: NUMBER.reject }), edge.sip);
      await operator.until(() => operator.received.length >= from + sent || undefined, 'every answer');
    }
    expect(new Set(operator.received.slice(from).map(codeOf))).to.deep.equal(new Set([480]));
  });

  it('a request within a dialog that is not ours gets a stranger no further', async () => {
    const forged = `BYE sip:mv.AAAABBBBCCCCDDDD@${edge.sip.host}:${edge.sip.port} SIP/2.0\r\n${requestText(
      stranger,
      { method: 'BYE' },
    )
      .split('\r\n')
      .slice(1)
      .join('\r\n')
      .replace(
        /^To: .*$/m,
        `To: <sip:x@y>;tag=abc\r\nRoute: <sip:${ADDRESS.operator}:${operator.port};lr>`,
      )}`;
    const from = operator.received.length;
    expect(codeOf(await stranger.ask(forged, edge.sip))).to.equal(403);
    expect(operator.received.length).to.equal(from);
  });
});
