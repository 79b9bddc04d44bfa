import { expect } from 'chai';
import { editDistance, meantBy } from '../../../control/lib/spelling.ts';

describe('spelling', () => {
  it('counts letters added, left out, replaced and exchanged', () => {
    expect(editDistance('port', 'port')).to.equal(0);
    expect(editDistance('prot', 'port')).to.equal(1);
    expect(editDistance('ports', 'port')).to.equal(1);
    expect(editDistance('pot', 'port')).to.equal(1);
    expect(editDistance('part', 'port')).to.equal(1);
    expect(editDistance('', 'port')).to.equal(4);
    expect(editDistance('kitten', 'sitting')).to.equal(3);
  });

  it('takes the nearest known word, and none that is far', () => {
    expect(meantBy('prot', ['host', 'port'])).to.equal('port');
    expect(meantBy('PORT', ['host', 'port'])).to.equal('port');
    expect(meantBy('boat', ['host', 'port'])).to.equal(undefined);
    expect(meantBy('anything', [])).to.equal(undefined);
  });

  it('forgives a second edit in long words alone', () => {
    expect(meantBy('KAMAILIO_BIN', ['KAMAILIO_SIP'])).to.equal(undefined);
    expect(meantBy('FREESWITCH_NOD', ['FREESWITCH_NODES'])).to.equal('FREESWITCH_NODES');
  });
});
