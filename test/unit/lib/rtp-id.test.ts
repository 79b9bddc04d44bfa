import { expect } from 'chai';
import { rtpIdOf } from '../../../control/lib/rtp-id.ts';

describe('the call id that rtpengine knows a call by', () => {
  it('is our own of an inbound call, whatever the Call-ID of its caller', () => {
    expect(rtpIdOf({ id: 'call_1', direction: 'inbound' }, 'shared@carrier')).to.equal('call_1');
  });

  it('of a leg that a media node has placed adds a hash of its Call-ID: each leg of a call has another', () => {
    // printf %s leg-1 | md5sum
    expect(rtpIdOf({ id: 'call_1', direction: 'outbound' }, 'leg-1')).to.equal('call_1-cecac1f65a9a187b');
  });
});
