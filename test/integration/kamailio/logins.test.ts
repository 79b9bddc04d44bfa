import { expect } from 'chai';
import { ADDRESS, Edge, NUMBER } from './edge.ts';
import { codeOf, RawSip, requestText, withoutTransaction, type InviteOptions } from './raw-sip.ts';
import { md5 } from './sip-carrier.ts';

const HA1 = (password: string): string => md5(`mini:minivoice:${password}`);

describe('Trunks that call in from any address', () => {
  let edge: Edge;
  let friend: RawSip;

  before(async () => {
    edge = await Edge.start({ environment: { BAD_CREDENTIALS: '5' } });
    await edge.set('contacts', 'logins', '1');
    await edge.set(
      'logins',
      'mini',
      `trunk_a;cust_a;49;${HA1('right')}|trunk_b;cust_b;49;${HA1('also right')}`,
    );
  });
  after(async () => {
    await edge?.stop();
  });
  beforeEach(async () => {
    friend = await RawSip.open(ADDRESS.customer);
    edge.control.routes.length = 0;
  });
  afterEach(() => friend.close());

  let calls = 0;
  const withCredentials = (
    password: string,
    options: InviteOptions,
    nonce: string,
    username = 'mini',
  ): InviteOptions => {
    const uri = `sip:${options.user ?? ''}@127.0.0.1`;
    const response = md5(`${md5(`${username}:minivoice:${password}`)}:${nonce}:${md5(`INVITE:${uri}`)}`);
    return {
      ...options,
      uri,
      headers: [
        `Authorization: Digest username="${username}", realm="minivoice", nonce="${nonce}", uri="${uri}", response="${response}"`,
      ],
    };
  };
  const nonceOf = (reply: string): string => /nonce="([^"]+)"/.exec(reply)?.[1] ?? '';
  const call = async (
    password: string,
    options: InviteOptions = { user: NUMBER.webhook },
    username?: string,
  ): Promise<string> => {
    const callId = `${++calls}@logins`;
    const challenge = await friend.ask(
      requestText(friend, { ...options, uri: `sip:${options.user ?? ''}@127.0.0.1`, callId }),
      edge.sip,
    );
    expect(codeOf(challenge)).to.equal(401);
    return friend.ask(
      requestText(friend, withCredentials(password, { ...options, callId }, nonceOf(challenge), username)),
      edge.sip,
    );
  };

  it('an INVITE is challenged whatever it asks for, and nothing but an INVITE is', async () => {
    const stranger = await RawSip.open(ADDRESS.stranger);
    try {
      const replies = [];
      for (const options of [
        { user: NUMBER.webhook },
        { user: NUMBER.unknown },
        { user: '' },
        { user: NUMBER.reject, maxForwards: 0 },
      ]) {
        replies.push(await stranger.ask(requestText(stranger, options), edge.sip));
      }
      expect(
        new Set(replies.map((reply) => withoutTransaction(reply).replace(/nonce="[^"]*"/, ''))),
      ).to.have.length(1);
      expect(replies[0])
        .to.match(/^SIP\/2\.0 401 .*\r\n[^]*^WWW-Authenticate: Digest realm="minivoice", nonce="[^"]+"/m)
        .and.not.match(/^(Server|User-Agent):/m);
      for (const method of ['OPTIONS', 'REGISTER', 'BYE'])
        expect(codeOf(await stranger.ask(requestText(stranger, { method }), edge.sip))).to.equal(403);
      expect(edge.control.routes).to.be.empty;
    } finally {
      stranger.close();
    }
  });

  it("good credentials are the trunk whose they are, each customer's password its own trunk of one name", async () => {
    expect(codeOf(await call('right'))).to.equal(480);
    expect(edge.control.routes.map(({ trunk, to }) => ({ trunk, to }))).to.deep.equal([
      { trunk: 'trunk_a', to: NUMBER.webhook },
    ]);
    expect(codeOf(await call('also right'))).to.equal(404);
    expect(codeOf(await call('right', { user: '03012345601' }))).to.equal(480);
    expect(edge.control.routes).to.have.length(2);
  });

  it('a call of theirs can be canceled', async () => {
    edge.control.answer = () => 'silence';
    const callId = 'cancel@logins';
    const branch = 'z9hG4bKcancel';
    const challenge = await friend.ask(requestText(friend, { user: NUMBER.webhook, callId }), edge.sip);
    friend.send(
      requestText(friend, {
        ...withCredentials('right', { user: NUMBER.webhook, callId }, nonceOf(challenge)),
        branch,
      }),
      edge.sip,
    );
    await edge.control.until(() => edge.control.routes[0], 'the decision request');
    friend.send(requestText(friend, { method: 'CANCEL', user: NUMBER.webhook, callId, branch }), edge.sip);
    await friend.until(() => friend.received.find((text) => codeOf(text) === 487), 'the end of the INVITE');
    edge.control.answer = () => ({ action: 'reject', code: 480, reason: 'Temporarily Unavailable' });
  });

  it('a nonce of another number, or of another source, is not taken', async () => {
    const thief = await RawSip.open(ADDRESS.customer2);
    try {
      const challenge = await friend.ask(
        requestText(friend, { user: NUMBER.webhook, callId: 'a@nonce' }),
        edge.sip,
      );
      const stolen = withCredentials('right', { user: NUMBER.webhook }, nonceOf(challenge));
      expect(
        codeOf(await thief.ask(requestText(thief, { ...stolen, callId: 'b@nonce' }), edge.sip)),
      ).to.equal(401);
      expect(
        codeOf(
          await friend.ask(
            requestText(friend, { ...stolen, uri: `sip:${NUMBER.sip}@127.0.0.1`, callId: 'c@nonce' }),
            edge.sip,
          ),
        ),
      ).to.equal(401);
    } finally {
      thief.close();
    }
  });

  it('a source with good credentials may call as fast as it likes', async () => {
    for (let i = 0; i < 60; i++) expect(codeOf(await call('right'))).to.equal(480);
  });

  it('bad credentials are told from good ones by nothing but the call, and enough of them get silence', async () => {
    friend.close();
    friend = await RawSip.open('127.0.0.67');
    for (let i = 0; i < 5; i++)
      expect(codeOf(await call(i % 2 ? 'right' : 'wrong', undefined, i % 2 ? 'nobody' : 'mini'))).to.equal(
        401,
      );
    const challenge = await friend.ask(
      requestText(friend, { user: NUMBER.webhook, callId: 'last@logins' }),
      edge.sip,
    );
    friend.send(
      requestText(
        friend,
        withCredentials('wrong', { user: NUMBER.webhook, callId: 'silent@logins' }, nonceOf(challenge)),
      ),
      edge.sip,
    );
    await edge.until(
      async () =>
        JSON.stringify(await edge.rpc('htable.dump', ['bans']).catch(() => '')).includes('127.0.0.67') ||
        undefined,
      'the ban',
    );
    expect(await call('right').catch((error: unknown) => String(error))).to.include('in vain');
  });

  it("a call to the Contact we have registered is the trunk's, for the number in its To", async () => {
    await edge.set('contacts', 'reg.token', 'trunk_a;cust_a;49');
    const invite = requestText(friend, { uri: 'sip:reg.token@127.0.0.1', callId: 'reg@logins' }).replace(
      /^To: .*$/m,
      `To: <sip:${NUMBER.webhook}@127.0.0.1>`,
    );
    expect(codeOf(await friend.ask(invite, edge.sip))).to.equal(480);
    expect(edge.control.routes.map(({ trunk, to }) => ({ trunk, to }))).to.deep.equal([
      { trunk: 'trunk_a', to: NUMBER.webhook },
    ]);
    expect(
      codeOf(
        await friend.ask(
          requestText(friend, { uri: 'sip:reg.other@127.0.0.1', callId: 'reg2@logins' }),
          edge.sip,
        ),
      ),
    ).to.equal(401);
  });
});

describe('An address that trunks of several customers have', () => {
  let edge: Edge;
  let carrier: RawSip;

  before(async () => {
    edge = await Edge.start();
    carrier = await RawSip.open(ADDRESS.owner);
  });
  after(async () => {
    carrier?.close();
    await edge?.stop();
  });

  const delivered = async (trunks: string, user: string): Promise<string | number> => {
    await edge.set('trunks', ADDRESS.owner, trunks);
    edge.control.routes.length = 0;
    const code = codeOf(await carrier.ask(requestText(carrier, { user }), edge.sip));
    return edge.control.routes[0]?.trunk ?? code;
  };

  it("a call is taken by the trunk of the number's owner, in any order, or else by the operator's", async () => {
    expect(await delivered('trunk_b;cust_b;49|trunk_a;cust_a;49', NUMBER.webhook)).to.equal('trunk_a');
    expect(await delivered('trunk_a;cust_a;49|trunk_o;*;49', NUMBER.webhook)).to.equal('trunk_a');
    expect(await delivered('trunk_o;*;49|trunk_a;cust_a;49', NUMBER.webhook)).to.equal('trunk_a');
    expect(await delivered('trunk_b;cust_b;49|trunk_o;*;49', NUMBER.webhook)).to.equal('trunk_o');
    expect(await delivered('trunk_b;cust_b;|trunk_c;cust_c;', NUMBER.webhook)).to.equal(404);
  });

  it("each trunk reads the number by its own country; what could be two numbers is nobody's", async () => {
    expect(await delivered('trunk_b;cust_b;43|trunk_a;cust_a;49', '03012345601')).to.equal('trunk_a');
    await edge.set('dids', '+433012345601', 'w;cust_b;');
    expect(await delivered('trunk_b;cust_b;43|trunk_a;cust_a;49', '03012345601')).to.equal(404);
    expect(await delivered('trunk_b;cust_b;43|trunk_a;cust_a;49', '+433012345601')).to.equal('trunk_b');
  });
});
