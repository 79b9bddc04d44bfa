import type { Channel } from '../channel/channel.ts';
import { localStamp } from '../esl/events.ts';
import type { Node } from './node.ts';

type Row = Record<string, string>;

function channelRow(channel: Channel, hostname: string): Row {
  const { profile, times } = channel;
  const codec = channel.codec ?? '';
  const rate = codec && '8000';
  const bits = codec && '64000';
  return {
    uuid: channel.uuid,
    direction: channel.direction,
    created: localStamp(times.created),
    created_epoch: String(Math.floor(times.created / 1_000_000)),
    name: profile.channelName,
    state: channel.state,
    cid_name: profile.name,
    cid_num: profile.number,
    ip_addr: profile.address,
    dest: profile.destination,
    application: channel.lastApplication.name,
    application_data: channel.lastApplication.data,
    dialplan: 'XML',
    context: 'minivoice',
    read_codec: codec,
    read_rate: rate,
    read_bit_rate: bits,
    write_codec: codec,
    write_rate: rate,
    write_bit_rate: bits,
    secure: '',
    hostname,
    presence_id: '',
    presence_data: '',
    accountcode: channel.variables.get('accountcode') ?? '',
    callstate: channel.callState,
    callee_name: '',
    callee_num: '',
    callee_direction: '',
    call_uuid: '',
    sent_callee_name: '',
    sent_callee_num: '',
    initial_cid_name: profile.name,
    initial_cid_num: profile.number,
    initial_ip_addr: profile.address,
    initial_dest: profile.destination,
    initial_dialplan: 'XML',
    initial_context: 'minivoice',
  };
}

const USAGE =
  '-USAGE: codec|endpoint|application|api|dialplan|file|timer|calls [count]|channels [count|like <match string>]|calls|' +
  'detailed_calls|bridged_calls|detailed_bridged_calls|aliases|complete|chat|management|modules|nat_map|say|interfaces|interface_types|' +
  'tasks|limits|status\n';

/** `show channels` and its kin: as lines with commas, or `as json`. */
export function show(node: Node, argument: string): string {
  const [what = '', ...rest] = argument.trim().split(/ +/);
  if (
    !['channels', 'calls', 'bridged_calls', 'detailed_calls', 'detailed_bridged_calls'].includes(
      what.toLowerCase(),
    )
  )
    return USAGE;
  const bridged = what.toLowerCase().includes('bridged');
  const channels = [...node.channels.values()].filter((channel) => !bridged || channel.connected);
  const count = rest[0]?.toLowerCase() === 'count';
  const as = rest[rest.findIndex((word) => word.toLowerCase() === 'as') + 1];
  const format = rest.some((word) => word.toLowerCase() === 'as') ? (as ?? '').toLowerCase() : 'delim';
  if (format !== 'json' && format !== 'delim' && format !== 'csv')
    return `-ERR Cannot find format ${as ?? ''}\n`;
  if (format === 'json') {
    if (count) return JSON.stringify({ row_count: channels.length });
    if (channels.length === 0) return '{"row_count": 0}\n';
    return JSON.stringify({
      row_count: channels.length,
      rows: channels.map((channel) => channelRow(channel, node.hub.hostname)),
    });
  }
  let text = '';
  if (!count) {
    for (const channel of channels) {
      const row = channelRow(channel, node.hub.hostname);
      if (text === '') text = `${Object.keys(row).join(',')}\n`;
      text += `${Object.values(row).join(',')}\n`;
    }
  }
  return `${text}\n${channels.length} total.\n`;
}
