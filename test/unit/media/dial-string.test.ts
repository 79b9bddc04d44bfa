import { expect } from 'chai';
import fc from 'fast-check';
import { dialString, legOf } from '../../../control/media/dial-string.ts';
import { MediaError } from '../../../control/media/media.ts';

const leg = {
  uuid: 'b-1',
  of: 'a-1',
  uris: ['sip:a@b'],
  from: '+4930222',
  headers: { 'X-MV-Call-ID': 'call_1' },
  timeoutSeconds: 20,
  kamailio: '192.0.2.9:5060',
};

/** As FreeSWITCH takes it apart: `{^^` and the separator, then variables, each up to its first `=`. */
function parse(argument: string): { variables: Record<string, string>; rest: string } {
  const end = argument.indexOf('}');
  expect(argument.slice(0, 4)).to.equal('{^^~');
  const pairs = argument
    .slice(4, end)
    .split('~')
    .map((pair): [string, string] => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]);
  expect(new Set(pairs.map(([name]) => name)).size).to.equal(pairs.length);
  return { variables: Object.fromEntries(pairs), rest: argument.slice(end + 1) };
}

describe('the dial string of a second leg', () => {
  it('names the leg, whose it is, how long it rings and what it carries', () => {
    expect(dialString({ ...leg, uris: ['sip:a@b;transport=tcp', 'sip:c@d'] })).to.equal(
      '{^^~origination_uuid=b-1~mv_leg_of=a-1~originate_timeout=21~ignore_early_media=true~origination_caller_id_number=+4930222~origination_caller_id_name=+4930222' +
        '~sip_h_X-MV-Call-ID=call_1~sip_h_X-MV-Targets=sip:a@b;transport=tcp|sip:c@d}sofia/minivoice/a@192.0.2.9:5060',
    );
    expect(legOf(dialString(leg))).to.equal('b-1');
  });

  it('keeps every URI in its place, whatever is in it', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'binary', minLength: 1 }), { minLength: 1, maxLength: 3 }),
        (users) => {
          const uris = users.map((user) => `sip:${Buffer.from(user).toString()}@192.0.2.7`);
          let argument;
          try {
            argument = dialString({ ...leg, uris });
          } catch (error) {
            // Of printable characters only this pair stays in the way: it joins dial strings.
            expect(error).to.be.instanceOf(MediaError);
            expect(uris.join('|')).to.include(':_:');
            return;
          }
          const { variables, rest } = parse(argument);
          expect(rest).to.match(/^sofia\/minivoice\/[\w+.-]+@192\.0\.2\.9:5060$/);
          expect(Object.keys(variables)).to.have.length(8);
          const targets = (variables['sip_h_X-MV-Targets'] ?? '').split('|');
          expect(targets).to.have.length(uris.length);
          const decode = (text: string): string =>
            Buffer.from(
              text.replace(/%([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))),
              'latin1',
            ).toString();
          for (const [i, uri] of uris.entries())
            if (!/%[0-9A-F]{2}/.test(uri)) expect(decode(targets[i] ?? '')).to.equal(uri);
        },
      ),
    );
  });

  it('shows every caller whose user part is legal, and one without any as anonymous', () => {
    for (const [from, shown] of [
      ['John%20Doe', 'John%20Doe'],
      ["o'neill~", 'o%27neill%7E'],
      ['*31', '*31'],
      ['unavailable!', 'unavailable!'],
      ['user=x&y', 'user=x&y'],
      ['a:_:b', 'a%3A_%3Ab'],
      ['$1', '%241'],
      ['', 'anonymous'],
    ]) {
      expect(parse(dialString({ ...leg, from: from ?? '' })).variables).to.include({
        origination_caller_id_number: shown,
        origination_caller_id_name: shown,
      });
    }
  });

  it('takes no header that would be more than one', () => {
    for (const value of [
      '',
      ' a',
      'a ',
      'a\r\nB: c',
      'a~b=c',
      'a}b',
      '{a',
      "it's",
      '"a"',
      'a\\b',
      '${a}',
      'a:_:b',
      'é',
    ]) {
      expect(() => dialString({ ...leg, headers: { 'X-A': value } }), value).to.throw(MediaError);
    }
    for (const name of ['', 'X A', 'X:A', 'X~A', 'X=A'])
      expect(() => dialString({ ...leg, headers: { [name]: 'a' } }), name).to.throw(MediaError);
    expect(() => dialString({ ...leg, uris: [] })).to.throw(MediaError);
    expect(
      parse(
        dialString({ ...leg, headers: { Diversion: '<sip:a@b>;reason=no-answer, "x"'.replaceAll('"', '') } }),
      ).variables.sip_h_Diversion,
    ).to.equal('<sip:a@b>;reason=no-answer, x');
  });
});
