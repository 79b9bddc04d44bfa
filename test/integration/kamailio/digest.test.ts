import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { Phone } from '../../support/phone.ts';
import { header, type HeaderLine, type SipMessage } from '../../../cli/phone/sip-message.ts';
import type { Call } from '../../support/call.ts';
import { ADDRESS, Edge, freePort } from './edge.ts';
import { SipCarrier, type Script } from './sip-carrier.ts';

const USER = 'mini';
const PASSWORD = 'pa"ss|w;or\\d';

type Algorithm = 'md5' | 'sha256';
const NAME = { md5: 'MD5', sha256: 'SHA-256' } as const;

interface Challenge {
  realm?: string;
  nonce: string;
  algorithm?: string;
  qop?: string;
  stale?: boolean;
  opaque?: string;
}

const written = ({ realm = 'b', nonce, algorithm, qop, stale, opaque }: Challenge): string =>
  'Digest ' +
  [
    `realm="${realm}"`,
    `nonce="${nonce}"`,
    opaque && `opaque="${opaque}"`,
    algorithm && `algorithm=${algorithm}`,
    qop && `qop="${qop}"`,
    stale && 'stale=TRUE',
  ]
    .filter(Boolean)
    .join(', ');

/** RFC 7616, computed here and not by what is tested: whether these credentials answer that challenge. */
function fits(
  credentials: string | undefined,
  method: string,
  { realm = 'b', nonce, qop, opaque }: Challenge,
  algorithm: Algorithm = 'md5',
): boolean {
  const parameters = [
    ...(credentials ?? '').replace(/^Digest /, '').matchAll(/(\w+)=(?:"([^"]*)"|([^",\s]*))/g),
  ];
  const value = (name: string): string =>
    parameters.filter(([, known]) => known === name).map(([, , quoted, bare]) => quoted ?? bare)[0] ?? '';
  const hash = (text: string): string => createHash(algorithm).update(text).digest('hex');
  if (
    value('username') !== USER ||
    value('nonce') !== nonce ||
    value('realm') !== realm ||
    value('opaque') !== (opaque ?? '')
  )
    return false;
  if (algorithm === 'sha256' && value('algorithm') !== NAME[algorithm]) return false;
  const [ha1, ha2] = [hash(`${USER}:${realm}:${PASSWORD}`), hash(`${method}:${value('uri')}`)];
  const protectedBy = qop === undefined ? [nonce] : [nonce, value('nc'), value('cnonce'), 'auth'];
  return value('response') === hash([ha1, ...protectedBy, ha2].join(':'));
}

describe('A trunk that wants to know who we are', () => {
  let edge: Edge;
  let node: Phone;
  let carrier: SipCarrier;
  let other: SipCarrier;

  before(async () => {
    const port = await freePort();
    node = await Phone.open({ address: ADDRESS.media, port });
    edge = await Edge.start({
      media: [`${ADDRESS.media}:${port}`],
      environment: { TARGET_SILENCE_MS: '600', REGISTER_RETRY_SECONDS: '30' },
    });
    await edge.carrier('trunk_1', { username: USER, password: PASSWORD });
    await edge.carrier('trunk_b', { username: USER, password: PASSWORD, realm: 'b' });
    await edge.carrier('trunk_2', {});
  });
  after(async () => {
    await node?.close();
    await edge?.stop();
  });
  beforeEach(async () => {
    carrier = await SipCarrier.open(ADDRESS.operator);
    other = await SipCarrier.open(ADDRESS.owner);
  });
  afterEach(async () => {
    await carrier?.close();
    await other?.close();
  });

  const dial = (trunk = 'trunk_1'): Promise<Call> =>
    node.call({
      to: '+4930111',
      from: '+15551111',
      via: edge.sip,
      headers: [
        ['X-MV-Call-ID', 'call_1'],
        ['X-MV-Targets', `${carrier.uri()}|${other.uri()}`],
        ['X-MV-Trunks', `${trunk}|trunk_2`],
      ],
    });
  const asks = (...challenges: Challenge[]): [string, HeaderLine[]] => [
    '407 Who Are You',
    challenges.map((one) => ['Proxy-Authenticate', written(one)]),
  ];
  const given = (invite: SipMessage): string | undefined => header(invite, 'proxy-authorization');

  const answered: [
    what: string,
    trunk: string,
    challenges: Challenge[],
    fitting: number,
    algorithm?: Algorithm,
  ][] = [
    ['a challenge without qop, as RFC 2069 had it', 'trunk_1', [{ nonce: 'n' }], 0],
    [
      'one with opaque, and qop for more than we do',
      'trunk_1',
      [{ nonce: 'n', qop: 'auth,auth-int', opaque: 'o/1=' }],
      0,
    ],
    [
      'the realm of the trunk behind another',
      'trunk_b',
      [
        { realm: 'a', nonce: 'na' },
        { realm: 'b', nonce: 'nb', qop: 'auth' },
      ],
      1,
    ],
    [
      'MD5 behind an algorithm nobody here knows',
      'trunk_1',
      [
        { nonce: 'n1', algorithm: 'SHA-512-256', qop: 'auth' },
        { nonce: 'n2', algorithm: 'MD5', qop: 'auth' },
      ],
      1,
    ],
    [
      'SHA-256 in front of MD5',
      'trunk_1',
      [
        { nonce: 'n1', algorithm: 'SHA-256', qop: 'auth' },
        { nonce: 'n2', algorithm: 'MD5', qop: 'auth' },
      ],
      0,
      'sha256',
    ],
    ['SHA-256 alone', 'trunk_1', [{ nonce: 'n', algorithm: 'SHA-256', qop: 'auth' }], 0, 'sha256'],
    [
      'a realm with a comma and a quoted word that looks like a parameter',
      'trunk_1',
      [{ realm: 'x, stale=true nonce=1', nonce: 'n', qop: 'auth' }],
      0,
    ],
  ];
  for (const [what, trunk, challenges, fitting, algorithm = 'md5'] of answered) {
    it(`is answered: ${what}`, async () => {
      carrier.script((invite) => (given(invite) === undefined ? [asks(...challenges)] : ['200 OK']));
      const call = await dial(trunk);
      await call.answered();
      const [, second] = carrier.invites;
      const challenge = challenges[fitting];
      expect(
        challenge && fits(second && given(second), 'INVITE', challenge, algorithm),
        second && given(second),
      ).to.equal(true);
      expect(other.invites).to.be.empty;
      await call.hangup();
    });
  }

  const refused: [what: string, trunk: string, challenges: Challenge[]][] = [
    ["a realm that is not the trunk's", 'trunk_b', [{ realm: 'a', nonce: 'n' }]],
    ['an algorithm nobody here knows', 'trunk_1', [{ nonce: 'n', algorithm: 'SHA-512-256', qop: 'auth' }]],
    ['a session algorithm', 'trunk_1', [{ nonce: 'n', algorithm: 'MD5-sess', qop: 'auth' }]],
    ['protection of the body alone', 'trunk_1', [{ nonce: 'n', qop: 'auth-int' }]],
  ];
  for (const [what, trunk, challenges] of refused) {
    it(`cannot be told with ${what}: the next trunk is tried`, async () => {
      carrier.script(() => [asks(...challenges)]);
      const call = await dial(trunk);
      await call.answered();
      expect(carrier.invites).to.have.length(1);
      expect(other.invites).to.have.length(1);
      await call.hangup();
    });
  }

  it('is answered by its own challenge, whatever the one before it has asked', async () => {
    await edge.carrier('trunk_2', { username: USER, password: PASSWORD });
    carrier.script(() => [asks({ realm: 'first', nonce: 'n1', qop: 'auth' })]);
    other.script((invite) =>
      given(invite) === undefined ? [asks({ realm: 'second', nonce: 'n2', qop: 'auth' })] : ['200 OK'],
    );
    const call = await dial();
    await call.answered();
    const last = other.invites.at(-1);
    expect(
      fits(last && given(last), 'INVITE', { realm: 'second', nonce: 'n2', qop: 'auth' }),
      last && given(last),
    ).to.equal(true);
    await call.hangup();
  });

  it('and whose nonce has grown old is told once more, with the new one', async () => {
    const [first, second]: Challenge[] = [
      { nonce: 'n1', qop: 'auth' },
      { nonce: 'n2', qop: 'auth', stale: true },
    ];
    carrier.script((_, n) =>
      n === 1
        ? [asks(first ?? { nonce: '' })]
        : n === 2
          ? [asks(second ?? { nonce: '' })]
          : ['180 Ringing', '200 OK'],
    );
    const call = await dial();
    await call.answered();
    const [, two, three] = carrier.invites;
    expect(fits(two && given(two), 'INVITE', first ?? { nonce: '' })).to.equal(true);
    expect(fits(three && given(three), 'INVITE', second ?? { nonce: '' })).to.equal(true);
    const numbers = carrier.invites.map((invite) => parseInt(header(invite, 'cseq') ?? ''));
    expect(numbers[2]).to.equal((numbers[0] ?? 0) + 2);
    expect(await call.hangup()).to.equal(200);
    expect(parseInt(header(await carrier.request('BYE'), 'cseq') ?? '')).to.be.greaterThan(
      numbers[2] ?? Infinity,
    );
  });

  it('three times over is not answered again: the next trunk is tried', async () => {
    carrier.script((_, n) => [asks({ nonce: `n${n}`, qop: 'auth', stale: n > 1 })]);
    const call = await dial();
    await call.answered();
    expect(carrier.invites).to.have.length(3);
    expect(other.invites).to.have.length(1);
    await call.hangup();
  });

  it("a proxy of the carrier's, and then the carrier itself, get the credentials each", async () => {
    const script: Script = (invite) => {
      if (given(invite) === undefined) return [asks({ realm: 'proxy', nonce: 'np', qop: 'auth' })];
      if (header(invite, 'authorization') === undefined)
        return [
          ['401 And You', [['WWW-Authenticate', written({ realm: 'home', nonce: 'nh', qop: 'auth' })]]],
        ];
      return ['200 OK'];
    };
    carrier.script(script);
    const call = await dial();
    await call.answered();
    const last = carrier.invites.at(-1);
    expect(fits(last && given(last), 'INVITE', { realm: 'proxy', nonce: 'np', qop: 'auth' })).to.equal(true);
    expect(
      fits(last && header(last, 'authorization'), 'INVITE', { realm: 'home', nonce: 'nh', qop: 'auth' }),
    ).to.equal(true);
    await call.hangup();
  });

  it('again within the call, with a nonce that has grown old, is told within the call', async () => {
    carrier.script((invite, n) =>
      given(invite) === undefined
        ? [asks({ nonce: `n${n}`, qop: 'auth' })]
        : n === 4
          ? [asks({ nonce: 'late', qop: 'auth', stale: true })]
          : ['200 OK'],
    );
    const call = await dial();
    await call.answered();
    await call.hold();
    const last = carrier.invites.at(-1);
    expect(fits(last && given(last), 'INVITE', { nonce: 'late', qop: 'auth' })).to.equal(true);
    expect(await call.hangup()).to.equal(200);
  });

  describe('when it is registered with', () => {
    const registered = async (wanted: string): Promise<true> =>
      edge.until(
        async () => {
          const found = (await edge.rpc('htable.get', ['registered', 'trunk_1']).catch(() => undefined)) as
            { item: { value: string } } | undefined;
          return found?.item.value === wanted || undefined;
        },
        `the registration to be ${wanted}`,
        5000,
      );
    const register = (): Promise<void> =>
      edge.set(
        'registrations',
        'trunk_1',
        `sip:carrier.example|sip:${carrier.at}|sip:mini@carrier.example|reg.token1`,
      );
    const grants = (request: SipMessage): [string, HeaderLine[]] => [
      '200 OK',
      [['Contact', `${header(request, 'contact')};expires=${header(request, 'expires')}`]],
    ];
    const wants = (challenge: Challenge): [string, HeaderLine[]] => [
      '401 Who Are You',
      [['WWW-Authenticate', written(challenge)]],
    ];

    afterEach(async () => {
      for (const table of ['registrations', 'registered', 'due', 'failed', 'attempts'])
        await edge.rpc('htable.flush', [table]);
    });

    it('a time that is too brief is asked for again at once, as long as the registrar wants it', async () => {
      carrier.answerOther = (request) => {
        if (header(request, 'authorization') === undefined) return wants({ nonce: 'n', qop: 'auth' });
        if (Number(header(request, 'expires')) < 3600)
          return ['423 Interval Too Brief', [['Min-Expires', '3600']]];
        return grants(request);
      };
      await register();
      await registered('up');
      const all = carrier.got('REGISTER');
      expect(header(all.at(-1) ?? fail(), 'expires')).to.equal('3600');
      const numbers = all.map((request) => parseInt(header(request, 'cseq') ?? ''));
      expect(numbers).to.deep.equal(numbers.map((_, i) => (numbers[0] ?? 0) + i));
    });

    it('a registrar that never has enough is down, and not asked over and over', async () => {
      carrier.answerOther = (request) => [
        '423 Interval Too Brief',
        [['Min-Expires', String(Number(header(request, 'expires')) + 1)]],
      ];
      await register();
      await registered('down');
      expect(carrier.got('REGISTER').length).to.be.at.most(5);
    });

    it('a nonce that has grown old is no wrong password', async () => {
      carrier.answerOther = (request) => {
        const credentials = header(request, 'authorization');
        if (credentials === undefined) return wants({ nonce: 'n1', qop: 'auth' });
        return fits(credentials, 'REGISTER', { nonce: 'n2', qop: 'auth' })
          ? grants(request)
          : wants({ nonce: 'n2', qop: 'auth', stale: true });
      };
      await register();
      await registered('up');
      expect(carrier.got('REGISTER')).to.have.length(3);
    });

    it('SHA-256 alone is spoken', async () => {
      const challenge = { nonce: 'n', qop: 'auth', algorithm: 'SHA-256' };
      carrier.answerOther = (request) => {
        const credentials = header(request, 'authorization');
        if (credentials === undefined) return wants(challenge);
        return fits(credentials, 'REGISTER', challenge, 'sha256') ? grants(request) : ['403 Forbidden', []];
      };
      await register();
      await registered('up');
    });

    it('a wrong password is not tried a second time', async () => {
      carrier.answerOther = () => wants({ nonce: 'n', qop: 'auth' });
      await register();
      await registered('down');
      expect(carrier.got('REGISTER')).to.have.length(2);
    });

    it('a challenge that cannot be answered is down at once', async () => {
      carrier.answerOther = () => wants({ nonce: 'n', qop: 'auth', algorithm: 'SHA-512-256' });
      await register();
      await registered('down');
      expect(carrier.got('REGISTER')).to.have.length(1);
    });
  });
});

function fail(): never {
  throw new Error('there is none');
}
