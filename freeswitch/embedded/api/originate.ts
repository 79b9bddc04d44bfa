import { parseDialString } from '../channel/dial-string.ts';
import { park } from '../channel/park.ts';
import type { Command } from './command.ts';

const USAGE =
  '-USAGE: <call url> <exten>|&<application_name>(<app_args>) [<dialplan>] [<context>] [<cid_name>] [<cid_num>] [<timeout_sec>]\n';
const DEFAULT_TIMEOUT = 60;

/**
 * Calls somebody, and parks the call when it is answered; the output comes then, or when it has ended before.
 * Early media is heard by nobody (`ignore_early_media`), and `&park()` is the one thing there is to do with
 * an answered call.
 */
export const originate: Command = async (node, argument) => {
  const [call, application] = splitQuoted(argument);
  if (call === undefined || application === undefined) return USAGE;
  if (!/^&park(\(\))?$/.test(application)) return '-ERR DESTINATION_OUT_OF_ORDER\n';
  const dial = parseDialString(call);
  if ('cause' in dial) return `-ERR ${dial.cause}\n`;
  const placed = node.place(dial);
  if (typeof placed === 'string') return '-ERR DESTINATION_OUT_OF_ORDER\n';

  const { channel, calling } = placed;
  const seconds = parseInt(dial.variables.get('originate_timeout') ?? '', 10) || DEFAULT_TIMEOUT;
  // FreeSWITCH looks at a clock of whole seconds, so that it gives up a part of one early; half of it, on
  // average.
  const timer = setTimeout(() => channel.hangup('NO_ANSWER'), (Math.min(seconds, 86_400) - 0.5) * 1000);
  const answered = new Promise<boolean>((resolve) => {
    calling.onConnected = () => resolve(true);
    channel.onDown(() => resolve(false));
  });
  void calling.start();
  const connected = await answered;
  clearTimeout(timer);
  if (connected && !channel.down) {
    channel.move('CS_EXECUTE');
    park(channel);
    return `+OK ${channel.uuid}\n`;
  }
  await channel.finished;
  return `-ERR ${channel.hangupCause}\n`;
};

/**
 * Splits at spaces that are not in single quotes. The quotes stay: they belong to what is taken apart next.
 */
const splitQuoted = (text: string): string[] => text.match(/(?:'[^']*'|[^ '])+/g) ?? [];
