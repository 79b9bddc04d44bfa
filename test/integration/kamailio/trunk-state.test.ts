import { expect } from 'chai';
import { header, type SipMessage } from '../../../cli/phone/sip-message.ts';
import { ADDRESS, Edge } from './edge.ts';
import { isRight, REALM, SipCarrier } from './sip-carrier.ts';

describe('The state of a trunk', () => {
  let edge: Edge;
  let carrier: SipCarrier;

  before(async () => {
    edge = await Edge.start({
      environment: { TARGET_SILENCE_MS: '300', TRUNK_PROBE_SECONDS: '1', REGISTER_RETRY_SECONDS: '1' },
    });
  });
  after(async () => {
    await edge?.stop();
  });
  beforeEach(async () => {
    carrier = await SipCarrier.open(ADDRESS.operator);
  });
  afterEach(async () => {
    for (const table of ['probes', 'registrations', 'trunk_state', 'registered', 'due', 'failed'])
      await edge.rpc('htable.flush', [table]);
    await carrier?.close();
  });

  const state = async (table: string): Promise<string | undefined> => {
    const found = (await edge.rpc('htable.get', [table, 'trunk_1']).catch(() => undefined)) as
      { item: { value: string } } | undefined;
    return found?.item.value;
  };
  const becomes = (table: string, wanted: string): Promise<true> =>
    edge.until(async () => (await state(table)) === wanted || undefined, `${table} to be ${wanted}`);

  it('a trunk that answers OPTIONS, however it does, is up; one that stays silent twice is down, and up with its next answer', async () => {
    carrier.answerOther = () => '405 Method Not Allowed';
    await edge.set('probes', 'trunk_1', `sip:${carrier.at}`);
    await becomes('trunk_state', 'up');
    const options = await carrier.request('OPTIONS');
    expect(options.uri).to.equal(`sip:${carrier.at}`);
    expect(header(options, 'from')).to.include(`sip:edge@${edge.sip.host}:${edge.sip.port}`);
    carrier.answerOther = () => undefined;
    await becomes('trunk_state', 'down');
    carrier.answerOther = () => '200 OK';
    await becomes('trunk_state', 'up');
  });

  it('a trunk that says that it can do nothing is down, and so is one that cannot be reached', async () => {
    carrier.answerOther = () => '503 Service Unavailable';
    await edge.set('probes', 'trunk_1', `sip:${carrier.at}`);
    await becomes('trunk_state', 'down');
    await edge.set('probes', 'trunk_1', 'sip:no-such-host.invalid');
    await edge.rpc('htable.delete', ['trunk_state', 'trunk_1']);
    await becomes('trunk_state', 'down');
    await edge.set('probes', 'trunk_1', `sip:${carrier.at};transport=tcp`);
    await edge.rpc('htable.delete', ['trunk_state', 'trunk_1']);
    await becomes('trunk_state', 'down');
  });

  const registrar =
    (password: string, grant = 'expires=600') =>
    (request: SipMessage): [string, [string, string][]] => {
      const given = header(request, 'authorization');
      if (given === undefined)
        return [
          '401 Who Are You',
          [['WWW-Authenticate', `Digest realm="${REALM}", nonce="abc", qop="auth"`]],
        ];
      if (!isRight(given, 'REGISTER', 'mini', password, 'abc')) return ['403 Forbidden', []];
      return [
        '200 OK',
        [
          ['Contact', `<sip:other@10.0.0.1>;expires=3`],
          ['Contact', `${header(request, 'contact')};${grant}`],
        ],
      ];
    };
  const register = async (): Promise<void> => {
    await edge.carrier('trunk_1', { username: 'mini', password: 'se;cr"et' });
    await edge.set(
      'registrations',
      'trunk_1',
      `sip:carrier.example|sip:${carrier.at}|sip:mini@carrier.example|reg.token1`,
    );
  };

  it("a registration is made with the trunk's credentials, at its registrar, and before half of the granted time is over again", async () => {
    carrier.answerOther = registrar('se;cr"et', 'expires=10');
    await register();
    await becomes('registered', 'up');
    const [first, second] = carrier.got('REGISTER');
    if (!first || !second) throw new Error('no REGISTER');
    expect(second.uri).to.equal('sip:carrier.example');
    expect(header(second, 'from')).to.include('<sip:mini@carrier.example>');
    expect(header(second, 'contact')).to.equal(`<sip:reg.token1@${edge.sip.host}:${edge.sip.port}>`);
    expect(header(second, 'call-id')).to.equal(header(first, 'call-id'));
    const again = await carrier.request('REGISTER', 2);
    expect(header(again, 'call-id')).to.equal(header(first, 'call-id'));
    expect(parseInt(header(again, 'cseq') ?? '')).to.be.greaterThan(parseInt(header(second, 'cseq') ?? ''));
  });

  it('a registration that is refused is down, and tried again; a restart of the edge makes it anew', async () => {
    carrier.answerOther = registrar('another');
    await register();
    await becomes('registered', 'down');
    carrier.answerOther = registrar('se;cr"et');
    await becomes('registered', 'up');
    await edge.stopKamailio('SIGKILL');
    await edge.startKamailio();
    const before = carrier.got('REGISTER').length;
    await register();
    await becomes('registered', 'up');
    expect(carrier.got('REGISTER').length).to.be.greaterThan(before);
  });
});
