import { expect } from 'chai';
import { pino } from 'pino';
import type { Call } from '../../../control/calls/call.ts';
import { ConferenceService } from '../../../control/conferences/service.ts';
import { deferred, type Deferred } from '../../../control/lib/deferred.ts';
import {
  ChannelGone,
  type Channel,
  type ConferenceEnd,
  type ConferenceOptions,
} from '../../../control/media/media.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}

/** Rooms as Redis keeps them. */
class FakeRooms {
  readonly rooms = new Map<string, { node: string; members: Set<string> }>();
  away = false;

  async enter(room: string, channel: string): Promise<string | undefined> {
    this.#check();
    const known = this.rooms.get(room);
    known?.members.add(channel);
    return known?.node;
  }

  async claim(room: string, channel: string, node: string): Promise<string> {
    this.#check();
    const known = this.rooms.get(room) ?? { node, members: new Set<string>() };
    this.rooms.set(room, known);
    known.members.add(channel);
    return known.node;
  }

  async leave(room: string, channel: string): Promise<void> {
    this.#check();
    const known = this.rooms.get(room);
    known?.members.delete(channel);
    if (known?.members.size === 0) this.rooms.delete(room);
  }

  async abandon(room: string, node: string): Promise<void> {
    this.#check();
    if (this.rooms.get(room)?.node === node) this.rooms.delete(room);
  }

  #check(): void {
    if (this.away) throw new Error('connection is closed');
  }
}

describe('conferences', () => {
  let rooms: FakeRooms;
  let nodes: { name: string; connected: boolean; channels: number }[];
  /** What the media nodes have. */
  let there: Record<string, string>;
  let notes: string[];
  let service: ConferenceService;
  /** Every entry into a room, and the way to end it. */
  let entries: { room: string; node: string | undefined; uuid: string; end: Deferred<ConferenceEnd> }[];

  beforeEach(() => {
    rooms = new FakeRooms();
    nodes = ['n1', 'n2'].map((name) => ({ name, connected: true, channels: 0 }));
    there = {};
    notes = [];
    entries = [];
    service = new ConferenceService({
      rooms,
      media: { nodes: () => nodes, roomAt: (room) => Promise.resolve(there[room]) },
      calls: { note: (_call, kind, detail) => void notes.push(`${kind} ${String(detail?.relayed)}`) },
      logger: pino({ enabled: false }),
    });
  });

  const channel = (uuid: string, node: string): Channel =>
    ({
      uuid,
      node,
      conference: (room: string, { node: at }: ConferenceOptions) => {
        const end = deferred<ConferenceEnd>();
        entries.push({ room, node: at, uuid, end });
        return end.promise;
      },
    }) as unknown as Channel;
  const call = (applicationId = 'app_1') => ({ id: 'call_1', applicationId }) as Call;
  const wish = (more = {}) => ({
    room: 'sales',
    mute: false,
    endOnExit: false,
    signal: new AbortController().signal,
    began: () => undefined,
    ...more,
  });
  const entered = async (count: number) => {
    await until(() => entries.length >= count);
    return entries[count - 1] as (typeof entries)[number];
  };

  it("the first member's node has the room, and who comes on another one is connected to it", async () => {
    const one = service.stay(call(), channel('a', 'n1'), wish());
    expect(await entered(1)).to.include({ room: 'app_1-sales', node: 'n1' });
    const two = service.stay(call(), channel('b', 'n2'), wish());
    expect(await entered(2)).to.include({ room: 'app_1-sales', node: 'n1' });
    expect(notes).to.deep.equal(['conference.entered false', 'conference.entered true']);
    expect(service.members).to.equal(2);
    entries[0]?.end.resolve('left');
    expect(await one).to.equal('left');
    expect(rooms.rooms.size).to.equal(1);
    entries[1]?.end.reject(new ChannelGone('b'));
    expect(await two.catch((error: unknown) => error)).to.be.instanceOf(ChannelGone);
    expect(rooms.rooms.size, 'freed with the last').to.equal(0);
    expect(service.members).to.equal(0);
  });

  it('the same name in two applications is two rooms', async () => {
    void service.stay(call('app_1'), channel('a', 'n1'), wish());
    void service.stay(call('app_2'), channel('b', 'n2'), wish());
    expect([(await entered(1)).room, (await entered(2)).room]).to.deep.equal(['app_1-sales', 'app_2-sales']);
    expect(entries[1]?.node).to.equal('n2');
  });

  it('a room that Redis has lost is found on its node', async () => {
    there['app_1-sales'] = 'n2';
    void service.stay(call(), channel('a', 'n1'), wish());
    expect(await entered(1)).to.include({ node: 'n2' });
  });

  it('members are announced anew, so that a room is known again after Redis has lost it', async () => {
    void service.stay(call(), channel('a', 'n1'), wish());
    await entered(1);
    rooms.rooms.clear();
    service.announce();
    await until(() => rooms.rooms.size === 1);
    expect(rooms.rooms.get('app_1-sales')?.node).to.equal('n1');
  });

  it('without Redis a room in use is found on its node, and everybody picks the same node for a new one', async () => {
    rooms.away = true;
    there['app_1-support'] = 'n2';
    void service.stay(call(), channel('a', 'n1'), wish({ room: 'support' }));
    expect(await entered(1)).to.include({ node: 'n2' });
    void service.stay(call(), channel('b', 'n1'), wish());
    void service.stay(call(), channel('c', 'n2'), wish());
    await entered(3);
    expect(entries[1]?.node).to.equal(entries[2]?.node);
  });

  it('those who are left when the node of their room dies meet again on another one', async () => {
    nodes.push({ name: 'n3', connected: true, channels: 0 });
    rooms.rooms.set('app_1-sales', { node: 'n2', members: new Set(['x']) });
    void service.stay(call(), channel('a', 'n1'), wish());
    void service.stay(call(), channel('b', 'n3'), wish());
    await entered(2);
    for (const node of nodes) if (node.name === 'n2') node.connected = false;
    entries[0]?.end.resolve('lost');
    await entered(3);
    entries[1]?.end.resolve('lost');
    await entered(4);
    expect(entries.slice(2).map(({ node }) => node)).to.deep.equal(['n1', 'n1']);
    expect(notes.slice(2)).to.deep.equal(['conference.moved false', 'conference.moved true']);
  });

  it('a node that is up and takes nobody in ends the action; one that is dead is given up for another', async () => {
    rooms.rooms.set('app_1-sales', { node: 'n2', members: new Set(['x']) });
    const full = service.stay(call(), channel('a', 'n1'), wish());
    (await entered(1)).end.resolve('unreachable');
    expect(await full).to.equal('unreachable');
    expect(rooms.rooms.get('app_1-sales')?.node).to.equal('n2');
    for (const node of nodes) if (node.name === 'n2') node.connected = false;
    void service.stay(call(), channel('a', 'n1'), wish());
    (await entered(2)).end.resolve('unreachable');
    expect(await entered(3)).to.include({ node: 'n1' });
  });

  it('is not entered any more by a caller who got other actions meanwhile', async () => {
    const stop = new AbortController();
    const stay = service.stay(call(), channel('a', 'n1'), wish({ signal: stop.signal }));
    stop.abort('replaced');
    expect(await stay).to.equal('left');
    expect(entries).to.deep.equal([]);
    expect(rooms.rooms.size).to.equal(0);
  });

  it('one that goes on after a restart is announced and seen through', async () => {
    const finished = deferred<ConferenceEnd>();
    const stay = service.stay(
      call(),
      channel('a', 'n1'),
      wish({ adopted: { node: 'n2', finished: finished.promise } }),
    );
    await until(() => rooms.rooms.get('app_1-sales')?.node === 'n2');
    finished.resolve('over');
    expect(await stay).to.equal('over');
    expect(entries).to.deep.equal([]);
    expect(rooms.rooms.size).to.equal(0);
  });
});
