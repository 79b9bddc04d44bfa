import type { Call } from './call.ts';
import { BridgedSource } from './bridged-source.ts';
import { parseDialString } from './dial-string.ts';
import { Wait } from './wait.ts';

const ORIGIN = { file: 'switch_ivr_bridge.c', fn: 'switch_ivr_multi_threaded_bridge', line: 1725 };
const DEFAULT_TIMEOUT = 60;

/** The application `bridge`: calls a second leg and connects it to the channel, until one of them ends. */
export async function bridge(channel: Call, argument: string): Promise<void> {
  const { variables } = channel;
  for (const name of ['originate_failed_cause', 'bridge_hangup_cause', 'last_bridge_hangup_cause'])
    variables.set(name, undefined);
  if (!(await channel.preAnswer()) || !(await channel.mediaCodec()))
    return failed(channel, 'INCOMPATIBLE_DESTINATION');
  const dial = parseDialString(argument);
  if ('cause' in dial) return failed(channel, dial.cause);
  const placed = channel.place(dial);
  if (typeof placed === 'string') return failed(channel, placed);

  const { channel: leg, calling } = placed;
  channel.other = leg;
  leg.other = channel;
  const before = channel.callState;
  channel.setCallState('RING_WAIT');
  const ringing = new Ringback(channel);
  const answered = new Wait('leave');
  calling.onRinging = () => ringing.start();
  calling.onConnected = () => answered.settle('end');
  leg.onDown(() => answered.settle('end'));
  const seconds = parseInt(dial.variables.get('originate_timeout') ?? '', 10) || DEFAULT_TIMEOUT;
  // FreeSWITCH looks at a clock of whole seconds, so that it gives up a part of one early; half of it, on
  // average.
  const timer = setTimeout(() => leg.hangup('NO_ANSWER'), (Math.min(seconds, 86_400) - 0.5) * 1000);
  void calling.start();
  const end = await channel.executor.wait(answered);
  clearTimeout(timer);
  ringing.stop();
  if (end === 'hangup') leg.hangup(leg.answered ? channel.hangupCause : 'ORIGINATOR_CANCEL');
  else channel.setCallState(before);
  if (!leg.answered || leg.down) {
    await leg.finished;
    lastBridge(channel, leg);
    channel.other = undefined;
    return failed(channel, end === 'hangup' ? 'ORIGINATOR_CANCEL' : leg.hangupCause);
  }
  variables.set('originate_disposition', 'SUCCESS');
  variables.set('DIALSTATUS', 'SUCCESS');
  await connect(channel, leg);
  await leg.finished;
  lastBridge(channel, leg);
  variables.set('bridge_hangup_cause', leg.hangupCause);
  channel.emit('CHANNEL_UNBRIDGE', ORIGIN, bridgeHeaders(channel, leg));
}

/** Passes audio and keys between two channels until one of them is down; ends the second then. */
async function connect(channel: Call, leg: Call): Promise<void> {
  const { variables } = channel;
  leg.move('CS_EXCHANGE_MEDIA');
  channel.times.bridged = leg.times.bridged = Math.max(leg.times.answered, 1);
  for (const [one, other] of [
    [channel, leg],
    [leg, channel],
  ] as const) {
    one.variables.set('signal_bond', other.uuid);
    one.variables.set('last_bridge_to', other.uuid);
    one.variables.set('bridge_channel', other.profile.channelName);
    one.variables.set('bridge_uuid', other.uuid);
  }
  channel.connected = leg.connected = true;
  channel.emit('CHANNEL_BRIDGE', ORIGIN, bridgeHeaders(channel, leg));
  const toCaller = new BridgedSource(leg.audio, channel.audio);
  const toLeg = new BridgedSource(channel.audio, leg.audio);
  channel.player.start(toCaller, () => {});
  leg.player.start(toLeg, () => {});
  channel.digits.passTo((digit) => leg.sendDigit(digit));
  leg.digits.passTo((digit) => channel.sendDigit(digit));
  const over = new Wait('leave');
  leg.onDown(() => over.settle('end'));
  await channel.executor.wait(over);
  leg.hangup(channel.down ? channel.hangupCause : 'NORMAL_CLEARING');
  channel.digits.passTo(undefined);
  leg.digits.passTo(undefined);
  channel.player.stop(toCaller);
  leg.player.stop(toLeg);
  channel.connected = leg.connected = false;
  variables.set('signal_bond', undefined);
}

const bridgeHeaders = (channel: Call, leg: Call): Record<string, string> => ({
  'Bridge-A-Unique-ID': channel.uuid,
  'Bridge-B-Unique-ID': leg.uuid,
});

function lastBridge(channel: Call, leg: Call): void {
  channel.variables.set('last_bridge_hangup_cause', leg.hangupCause);
  // A leg without a final code of its own leaves the one of the leg before it, as in FreeSWITCH.
  const code = leg.variables.get('proto_specific_hangup_cause') ?? (leg.answered ? 'sip:200' : undefined);
  if (code) channel.variables.set('last_bridge_proto_specific_hangup_cause', code);
}

const DIAL_STATUS: Readonly<Record<string, string>> = {
  USER_BUSY: 'BUSY',
  NO_ANSWER: 'NOANSWER',
  ORIGINATOR_CANCEL: 'CANCEL',
};

function failed(channel: Call, cause: string): void {
  const { variables } = channel;
  variables.set('last_bridge_hangup_cause', cause);
  variables.set('originate_disposition', cause);
  variables.set('DIALSTATUS', DIAL_STATUS[cause] ?? cause);
  variables.set('originate_failed_cause', cause);
}

/** What the caller hears while the leg rings. */
class Ringback {
  readonly #channel: Call;
  #stop: (() => void) | undefined;
  #over = false;

  constructor(channel: Call) {
    this.#channel = channel;
  }

  start(): void {
    const channel = this.#channel;
    const tones = channel.variable(channel.answered ? 'transfer_ringback' : 'ringback');
    const { codec } = channel;
    if (!tones || !codec) return;
    const name = /^[\w]+:\/\/|^\//.test(tones) ? tones : `tone_stream://${tones};loops=-1`;
    channel.library.open(name, codec).then(
      (source) => {
        if (this.#over) return;
        channel.player.start(source, () => {});
        this.#stop = () => channel.player.stop(source);
      },
      (error: unknown) => channel.log.warn({ err: error, uuid: channel.uuid }, 'no ringback'),
    );
  }

  stop(): void {
    this.#over = true;
    this.#stop?.();
  }
}
