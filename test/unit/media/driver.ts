import { pino } from 'pino';
import { FreeSwitchMedia } from '../../../control/media/freeswitch.ts';
import type { ChannelEnd, ParkedChannel } from '../../../control/media/media.ts';
import type { NodeTimings } from '../../../control/media/node.ts';
import { Watched } from '../../../cli/phone/wait.ts';
import { channelHeaders, type FakeEsl } from './fake-esl.ts';

/** The driver in front of fake nodes, and what it has handed over. */
export class Driver extends Watched {
  readonly parked: ParkedChannel[] = [];
  readonly media: FreeSwitchMedia;
  /** Called with every parked channel, before it is noted. */
  onParked: (parked: ParkedChannel) => void = () => undefined;
  reconciled = false;

  constructor(nodes: readonly Pick<FakeEsl, 'port'>[], timings: Partial<NodeTimings> = {}, owner?: string) {
    super();
    this.media = new FreeSwitchMedia({
      nodes: nodes.map(({ port }) => ({ name: `127.0.0.1:${port}`, host: '127.0.0.1', eslPort: port })),
      password: 'secret',
      kamailio: '192.0.2.9:5060',
      ...(owner !== undefined && { owner }),
      logger: pino({ level: 'silent' }),
      timings: { firstRetryMs: 5, maxRetryMs: 10, graceMs: 2000, settleMs: 20, sweepMs: 60_000, ...timings },
    });
    void this.media.reconciled.then(() => (this.reconciled = true));
  }

  start(): this {
    this.media.start((parked) => {
      this.onParked(parked);
      this.parked.push(parked);
      this.changed();
    });
    return this;
  }

  next(count = 1): Promise<ParkedChannel> {
    return this.until(() => this.parked[count - 1], `parked call ${count}`, 3000);
  }

  /** A call on the node, announced by it. */
  async call(node: FakeEsl, uuid: string, more: Record<string, string> = {}): Promise<ParkedChannel> {
    await this.media.reconciled;
    const count = this.parked.length + 1;
    node.channels.set(uuid, channelHeaders(uuid, more));
    node.session.event('CHANNEL_PARK', channelHeaders(uuid, more));
    return this.next(count);
  }

  /** Answered, with nothing playing. */
  async answered(node: FakeEsl, uuid: string): Promise<ParkedChannel['channel']> {
    const { channel } = await this.call(node, uuid);
    await channel.answer();
    node.channels.set(uuid, channelHeaders(uuid, { 'Answer-State': 'answered' }));
    return channel;
  }
}

export const ANSWERED = { 'Answer-State': 'answered' };

/** What the node says of a channel in which a playback runs. */
export const playing = (source: string): Record<string, string> => ({
  ...ANSWERED,
  variable_current_application: 'playback',
  variable_current_application_data: source,
});

/** What it says when that has ended. */
export const played = (source: string): Record<string, string> => ({
  ...playing(source),
  variable_current_application_response: 'FILE PLAYED',
});

export const idOf = (command: string): string => /^Event-UUID: (\S+)$/m.exec(command)?.[1] ?? '';

/** The node tells that an application has ended. */
export function complete(
  node: FakeEsl,
  uuid: string,
  id: string,
  response = 'FILE PLAYED',
  application = 'playback',
): void {
  node.session.event('CHANNEL_EXECUTE_COMPLETE', {
    ...channelHeaders(uuid, ANSWERED),
    Application: application,
    'Application-UUID': id,
    'Application-Response': response,
  });
}

export function hangUp(node: FakeEsl, uuid: string, more: Record<string, string> = {}): void {
  node.channels.delete(uuid);
  node.session.event('CHANNEL_HANGUP_COMPLETE', {
    ...channelHeaders(uuid),
    'Hangup-Cause': 'NORMAL_CLEARING',
    variable_sip_hangup_disposition: 'recv_bye',
    ...more,
  });
}

export const isSettled = async (promise: Promise<unknown>): Promise<boolean> => {
  const pending = {};
  return (
    (await Promise.race([
      promise.catch(() => undefined),
      new Promise((resolve) => setImmediate(resolve, pending)),
    ])) !== pending
  );
};

export const summary = ({ by, cause, sipCode }: ChannelEnd): string => `${by} ${cause} ${sipCode ?? '-'}`;
