import { expect } from 'chai';
import fc from 'fast-check';
import { InvalidActions, parseActions } from '../../../control/flow/schema.ts';

const refusal = (payload: unknown): Record<string, string> => {
  try {
    parseActions(payload);
  } catch (error) {
    if (error instanceof InvalidActions)
      return Object.fromEntries(error.details.map(({ path, message }) => [path, message]));
    throw error;
  }
  throw new Error('the payload was accepted');
};
const one = (action: unknown) => parseActions({ actions: [action] })[0];

describe('the answer_url language', () => {
  it('reads both encodings alike, mixed in one array', () => {
    const steps = parseActions({ actions: [{ say: { text: 'Hello' } }, { type: 'say', text: 'Hello' }] });
    expect(steps[0]).to.deep.equal(steps[1]);
    expect(steps[0]).to.deep.equal({ action: 'say', fields: { text: 'Hello', loop: 1 } });
  });

  it('fills in the documented defaults', () => {
    expect(one({ gather: {} })?.fields).to.deep.equal({ timeout_seconds: 5, finish_on_key: '#' });
    expect(one({ redirect: { url: 'https://example.com/next' } })?.fields).to.deep.equal({
      url: 'https://example.com/next',
      method: 'GET',
      max_redirects: 10,
    });
    expect(one({ type: 'reject' })?.fields).to.deep.equal({ sip_code: 480 });
  });

  const bad: [string, unknown, string][] = [
    ['a body that is no object', [], 'actions'],
    ['no actions', {}, 'actions'],
    ['a field beside actions', { actions: [], result: 1 }, 'result'],
    ['an unknown action', { actions: [{ dance: {} }] }, 'actions[0]'],
    ['an unknown type', { actions: [{ type: 'dance' }] }, 'actions[0].type'],
    ['two keys', { actions: [{ say: { text: 'a' }, hangup: {} }] }, 'actions[0]'],
    [
      'an unknown field, keyed',
      { actions: [{ hangup: {} }, { say: { text: 'a', tone: 'x' } }] },
      'actions[1].say.tone',
    ],
    ['an unknown field, typed', { actions: [{ type: 'say', text: 'a', tone: 'x' }] }, 'actions[0].tone'],
    ['an empty text', { actions: [{ say: { text: '  ' } }] }, 'actions[0].say.text'],
    ['a text that is too long', { actions: [{ say: { text: 'a'.repeat(4001) } }] }, 'actions[0].say.text'],
    [
      'a timeout out of range',
      { actions: [{ say: { text: 'a' } }, { hangup: {} }, { gather: { timeout_seconds: 31 } }] },
      'actions[2].gather.timeout_seconds',
    ],
    [
      'num_digits beside a range',
      { actions: [{ gather: { num_digits: 2, max_digits: 4 } }] },
      'actions[0].gather.num_digits',
    ],
    [
      'a range upside down',
      { actions: [{ gather: { min_digits: 5, max_digits: 4 } }] },
      'actions[0].gather.min_digits',
    ],
    [
      'two finishing keys',
      { actions: [{ gather: { finish_on_key: '##' } }] },
      'actions[0].gather.finish_on_key',
    ],
    [
      'a redirect to another scheme',
      { actions: [{ redirect: { url: 'file:///etc/passwd' } }] },
      'actions[0].redirect.url',
    ],
    [
      'a SIP code not on the list',
      { actions: [{ reject: { sip_code: 200 } }] },
      'actions[0].reject.sip_code',
    ],
    [
      'a variable name with a space',
      { actions: [{ set_variable: { name: 'a b', value: '' } }] },
      'actions[0].set_variable.name',
    ],
    [
      'digits that are none',
      { actions: [{ send_digits: { digits: '12x' } }] },
      'actions[0].send_digits.digits',
    ],
    [
      'a pause that is too long',
      { actions: [{ type: 'send_digits', digits: '1', pause_before_ms: 60_001 }] },
      'actions[0].pause_before_ms',
    ],
    [
      'a stream to http',
      { actions: [{ start_stream: { stream_url: 'https://example.com/audio' } }] },
      'actions[0].start_stream.stream_url',
    ],
    [
      'a stream without TLS',
      { actions: [{ start_stream: { stream_url: 'ws://example.com/audio' } }] },
      'actions[0].start_stream.stream_url',
    ],
    [
      'a stream of no track',
      { actions: [{ stop_stream: { track: 'left' } }] },
      'actions[0].stop_stream.track',
    ],
    ['a direction that is none', { actions: [{ mute: { direction: 'left' } }] }, 'actions[0].mute.direction'],
    ['a transfer to nowhere', { actions: [{ transfer: {} }] }, 'actions[0].transfer.destination'],
    [
      'a transfer to two places',
      { actions: [{ transfer: { to: '+15551230001', destination: '+15551230002' } }] },
      'actions[0].transfer.to',
    ],
    [
      'a destination with headers',
      { actions: [{ bridge: { destination: 'sip:a@b.example?Route=x' } }] },
      'actions[0].bridge.destination',
    ],
    [
      'a ring time that is too short',
      { actions: [{ bridge: { destination: '+15551230001', timeout_seconds: 4 } }] },
      'actions[0].bridge.timeout_seconds',
    ],
    [
      'a value of the wrong type',
      { actions: [{ set_variable: { name: 'a', value: 1 } }] },
      'actions[0].set_variable.value',
    ],
  ];
  for (const [what, payload, path] of bad)
    it(`refuses ${what} and names ${path}`, () => expect(refusal(payload)).to.have.property(path));

  it('one bad action refuses the whole payload', () => {
    expect(() => parseActions({ actions: [{ say: { text: 'fine' } }, { say: {} }] })).to.throw(
      InvalidActions,
    );
  });

  it('any JSON is either accepted or refused with InvalidActions', () => {
    const names = [
      'say',
      'gather',
      'transfer',
      'bridge',
      'send_digits',
      'mute',
      'hold',
      'destination',
      'digits',
      'redirect',
      'play',
      'pause',
      'hangup',
      'reject',
      'set_variable',
      'unset_variable',
      'type',
      'text',
      'url',
    ];
    const item = fc.dictionary(fc.oneof(fc.constantFrom(...names), fc.string()), fc.jsonValue());
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), fc.record({ actions: fc.array(item) })), (payload) => {
        try {
          parseActions(payload);
        } catch (error) {
          expect(error).to.be.instanceOf(InvalidActions);
          expect((error as InvalidActions).details.length).to.be.within(1, 50);
        }
      }),
      { numRuns: 500 },
    );
  });
});
