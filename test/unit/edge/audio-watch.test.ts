import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { pino } from 'pino';
import type { Call } from '../../../control/calls/call.ts';
import { AudioWatch } from '../../../control/edge/audio-watch.ts';
import type { Tags } from '../../../control/streams/rtpengine.ts';

const BEGAN = Date.UTC(2026, 10, 30, 12);
const SIP_CALL_ID = 'dialog@carrier';
const side = (peer: string, lastPacket: number, flags = ['send', 'recv']) => ({
  subscriptions: [{ tag: peer, type: 'offer/answer' }],
  medias: [{ type: 'audio', flags, streams: [{ 'last packet': lastPacket }] }],
});

describe('the audio of calls in progress', () => {
  let now: number;
  let call: Call;
  /** What rtpengine says of it. */
  let audio: Tags | 'unknown' | undefined;
  let listed: string[];
  let restarted: boolean;
  let there: boolean | undefined;
  let told: string[];
  let leg:
    { dialog: { callId: string; fromTag: string; toTag: string }; renegotiate(): Promise<void> } | undefined;
  let watch: AudioWatch;

  beforeEach(() => {
    now = BEGAN;
    const farEnd = {
      sipCallId: SIP_CALL_ID,
      fromTag: 'node',
      toTag: 'far',
      contact: 'sip:mv.x@edge',
      routes: '',
    };
    call = {
      id: 'call_20261130T120000.000000300',
      direction: 'inbound',
      routeMode: 'webhook',
      status: 'in_progress',
      answeredAt: new Date(BEGAN),
      sipCallId: SIP_CALL_ID,
      farEnds: [farEnd],
    } as unknown as Call;
    audio = { far: side('node', 1), node: side('far', 1) };
    [listed, told] = [[], []];
    [there, restarted] = [true, true];
    leg = {
      dialog: { callId: SIP_CALL_ID, fromTag: 'far', toTag: 'node' },
      renegotiate: () => Promise.resolve(void told.push('renegotiated')),
    };
    watch = new AudioWatch({
      rtpengine: {
        look: () => Promise.resolve(audio),
        knows: () => Promise.resolve(restarted ? undefined : false),
        list: () => Promise.resolve(listed),
        forget: (id) => Promise.resolve(void told.push(`${id} is deleted`)),
      },
      calls: {
        live: () => [call],
        get: (id) => (id === call.id ? call : undefined),
        note: (_call, kind) => void told.push(kind),
      },
      legOf: () => leg,
      isThere: (ends) =>
        Promise.resolve(void told.push(`asked ${ends.map(({ toTag }) => toTag).join(' ')}`)).then(
          () => there,
        ),
      end: (ended, { hangup, failure }) => {
        told.push(`ended ${hangup.cause} ${failure?.code ?? ''}`.trim());
        ended.status = failure ? 'failed' : 'completed';
      },
      instance: 3,
      logger: pino({ enabled: false }),
      now: () => new Date(now),
    });
  });

  /** @param each what happens in every second */
  const pass = async (seconds: number, each: (second: number) => void = () => undefined): Promise<void> => {
    for (let second = 1; second <= seconds; second++) {
      now += 1000;
      each(second);
      watch.tick();
      for (let turns = 0; turns < 5; turns++) await setImmediate();
    }
  };

  it('that goes on are left alone, whatever the media node sends', async () => {
    await pass(120, (second) => {
      audio = { far: side('node', second), node: side('far', 1) };
    });
    expect(told).to.deep.equal([]);
  });

  it('whose far end is silent is asked, again and again, and goes on as long as somebody is there', async () => {
    await pass(90, (second) => {
      audio = { far: side('node', 1), node: side('far', second) };
    });
    expect(new Set(told)).to.deep.equal(new Set(['asked far']));
    expect(told.length).to.be.within(3, 6);
  });

  it('whose far end is silent and does not answer ends', async () => {
    there = false;
    await pass(30);
    expect(told).to.deep.equal(['asked far', 'media.timeout', 'ended MEDIA_TIMEOUT']);
  });

  it('whose far end cannot be asked goes on', async () => {
    there = undefined;
    await pass(90);
    expect(told).to.not.include('media.timeout');
    call.farEnds = [];
    told = [];
    await pass(90);
    expect(told).to.deep.equal([]);
  });

  it('on hold is left alone, on whichever side', async () => {
    there = false;
    audio = { far: side('node', 1, ['send']), node: side('far', 1) };
    await pass(60);
    audio = { far: side('node', 1), node: side('far', 1, []) };
    await pass(60);
    expect(told).to.deep.equal([]);
    audio = { far: side('node', 1), node: side('far', 1) };
    await pass(40);
    expect(told.at(-1)).to.equal('ended MEDIA_TIMEOUT');
  });

  it("is nobody else's: our own participants are no side of a relayed call, of which either side may be heard", async () => {
    [leg, call] = [undefined, { ...call, routeMode: 'sip' } as Call];
    await pass(60, (second) => {
      audio = { far: side('node', 1), node: side('far', second), 'minivoice-inbound': side('', 0) };
    });
    expect(told).to.deep.equal([]);
    await pass(40, (second) => {
      audio = { far: side('node', 1), node: side('far', 1), 'minivoice-voice': side('', second) };
    });
    expect(told).to.include('asked far');
  });

  it('that rtpengine does not know is offered anew, until it does', async () => {
    audio = 'unknown';
    await pass(20);
    audio = { far: side('node', 1), node: side('far', 1) };
    await pass(10);
    expect(told).to.deep.equal(['audio.lost', 'renegotiated', 'renegotiated', 'audio.restored']);
  });

  it('that rtpengine never knows again ends within a minute', async () => {
    audio = 'unknown';
    await pass(50);
    expect(told.filter((what) => what === 'renegotiated')).to.have.length(4);
    expect(told.at(-1)).to.equal('ended NORMAL_TEMPORARY_FAILURE media_unavailable');
  });

  it('that rtpengine does not know and no media node has ends at once', async () => {
    [leg, audio] = [undefined, 'unknown'];
    call = { ...call, routeMode: 'sip' } as Call;
    await pass(10);
    expect(told).to.deep.equal(['audio.lost', 'ended NORMAL_TEMPORARY_FAILURE media_unavailable']);
  });

  it('of a relayed call that rtpengine, up all the while, does not know is over: its end is told by others', async () => {
    [leg, audio, restarted] = [undefined, 'unknown', false];
    call = { ...call, routeMode: 'sip' } as Call;
    await pass(60);
    expect(told).to.deep.equal([]);
  });

  it('is left alone while rtpengine does not answer', async () => {
    audio = undefined;
    await pass(120);
    expect(told).to.deep.equal([]);
  });

  it('are looked at in time, however many calls there are, and whoever is being asked', async () => {
    const many = Array.from(
      { length: 500 },
      (_, n) => ({ ...call, id: `call_20261130T120000.${String(n).padStart(6, '0')}300` }) as Call,
    );
    const looks = new Map<string, number>();
    const crowd = new AudioWatch({
      rtpengine: {
        look: (id) => Promise.resolve(audio).finally(() => looks.set(id, (looks.get(id) ?? 0) + 1)),
        knows: () => Promise.resolve(false),
        list: () => Promise.resolve([]),
        forget: () => Promise.resolve(),
      },
      calls: { live: () => many, get: (id) => many.find((one) => one.id === id), note: () => undefined },
      legOf: () => leg,
      isThere: () => new Promise(() => undefined),
      end: () => undefined,
      instance: 3,
      logger: pino({ enabled: false }),
      now: () => new Date(now),
    });
    for (let second = 1; second <= 60; second++) {
      now += 1000;
      crowd.tick();
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    expect(
      [...looks.values()].every((times) => times >= 6),
      'a look every eight seconds or so',
    ).to.equal(true);
    expect(looks.size).to.equal(500);
  });

  it('of a call that is over is deleted where rtpengine still has it, but not that of living ones, of new ones and of others', async () => {
    const over = 'call_20261130T115000.000000300';
    listed = [
      over,
      `${over}-0123456789abcdef`,
      call.id,
      `${call.id}-0123456789abcdef`,
      'call_20261130T115000.000000400',
      'call_20261130T120000.900000300',
      'edge-1-2',
      'other',
    ];
    await pass(2, (second) => {
      audio = { far: side('node', second), node: side('far', 1) };
    });
    expect(told).to.deep.equal([`${over} is deleted`, `${over}-0123456789abcdef is deleted`]);
  });
});
