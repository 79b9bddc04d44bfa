import { expect } from 'chai';
import { Caller, type InviteOptions } from '../embedded/tools/caller.ts';
import { EslClient } from '../embedded/tools/esl-client.ts';
import { KINDS, PASSWORD, TestNode } from './nodes.ts';

for (const kind of KINDS) {
  describe(`what a media node does with SIP from outside, on ${kind}`, function () {
    this.timeout(30_000);
    let node: TestNode;
    let esl: EslClient;
    const callers: Caller[] = [];

    before(async () => {
      node = await TestNode.start(kind);
      esl = await EslClient.connect(node.eslPort);
      await esl.command(`auth ${PASSWORD}`);
      await esl.command('event json CHANNEL_PARK');
    });

    after(async () => {
      esl.close();
      await node.close();
    });

    afterEach(async () => {
      await esl.api('hupall');
      for (const caller of callers.splice(0)) caller.close();
    });

    const caller = async (): Promise<Caller> => {
      const opened = await Caller.open(node.sipPort);
      callers.push(opened);
      return opened;
    };

    /** A call that the node has answered, and its channel. */
    const answered = async (options: InviteOptions = {}): Promise<[Caller, string]> => {
      const anna = await caller();
      anna.invite(options);
      const uuid =
        (await esl.event('CHANNEL_PARK', { variable_sip_call_id: anna.callId }))['Unique-ID'] ?? '';
      await esl.api(`uuid_answer ${uuid}`);
      await anna.response(200);
      return [anna, uuid];
    };

    it('keeps the refresher of a session timer that the caller chose, and takes 90 s, the least there is', async () => {
      for (const refresher of ['uac', 'uas']) {
        const [anna] = await answered({
          headers: ['Supported: timer', `Session-Expires: 90;refresher=${refresher}`],
        });
        expect((await anna.response(200)).header('Session-Expires')).to.equal(`90;refresher=${refresher}`);
      }
    });

    it('refuses less with 422 and what would do', async () => {
      const anna = await caller();
      anna.invite({ headers: ['Supported: timer', 'Session-Expires: 89'] });
      expect((await anna.response(422)).header('Min-SE')).to.equal('90');
    });

    for (const name of ['Authorization', 'Proxy-Authorization']) {
      it(`does not challenge a call that brings an ${name} for somebody else`, async () => {
        const [anna] = await answered({
          headers: [`${name}: Digest username="a", realm="b", nonce="c", uri="sip:x", response="d"`],
        });
        expect(anna.received.some(({ status }) => status === 407 || status === 401)).to.equal(false);
      });
    }

    it('refuses what it does not know and is required to, in a call as outside of one', async () => {
      const outside = await caller();
      outside.invite({ headers: ['Require: 100rel, foo'] });
      expect((await outside.response(420)).header('Unsupported')).to.match(/foo/);
      const [anna, uuid] = await answered();
      anna.send(anna.request('INVITE', { headers: ['Require: foo'], body: anna.sdp() }));
      expect((await anna.response(420)).header('Unsupported')).to.equal('foo');
      expect(await esl.api(`uuid_exists ${uuid}`)).to.equal('true');
    });

    it('takes nobody over, transfers nobody and subscribes nobody, whatever is asked in a call', async () => {
      const [anna, uuid] = await answered();
      const more = [
        'Refer-To: <sip:x@127.0.0.1:9>',
        'Referred-By: <sip:x@example.com>',
        'Event: talk',
        'Expires: 60',
      ];
      for (const method of ['REFER', 'SUBSCRIBE', 'PUBLISH', 'REGISTER']) {
        anna.send(anna.request(method, { headers: more }));
        await anna.response(405, method);
      }
      // Another call that names this one in a Join is a call like any other.
      const [, other] = await answered({
        headers: [`Join: ${anna.callId};to-tag=${anna.toTag};from-tag=${anna.fromTag}`],
      });
      for (const one of [uuid, other]) expect(await esl.api(`uuid_exists ${one}`)).to.equal('true');
    });
  });
}
