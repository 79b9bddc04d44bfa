import type { RtpSession, RtpStats } from '../rtp/session.ts';
import type { Variables } from './variables.ts';

/** Sets what FreeSWITCH tells about the audio of a channel. */
export function setMediaVariables(variables: Variables, rtp: RtpSession, localSdp: string): void {
  const { agreement } = rtp;
  const codec = agreement?.codec ?? 'PCMU';
  const values: Record<string, string | number | undefined> = {
    remote_audio_media_flow: agreement?.direction ?? 'sendrecv',
    audio_media_flow: agreement?.direction ?? 'sendrecv',
    rtp_audio_recv_pt: agreement?.payload,
    rtp_use_codec_name: codec,
    rtp_use_codec_rate: 8000,
    rtp_use_codec_ptime: 20,
    rtp_use_codec_channels: 1,
    rtp_last_audio_codec_string: `${codec}@8000h@20i@1c`,
    read_codec: codec,
    original_read_codec: codec,
    read_rate: 8000,
    original_read_rate: 8000,
    write_codec: codec,
    write_rate: 8000,
    dtmf_type: 'rfc2833',
    local_media_ip: rtp.ip,
    local_media_port: rtp.port,
    advertised_media_ip: rtp.ip,
    rtp_use_timer_name: 'soft',
    rtp_use_pt: agreement?.payload,
    rtp_2833_send_payload: agreement?.eventPayload,
    rtp_2833_recv_payload: agreement?.eventPayload,
    remote_media_ip: agreement?.remote.address,
    remote_media_port: agreement?.remote.port,
    rtp_local_sdp_str: localSdp,
  };
  for (const [name, value] of Object.entries(values)) variables.set(name, value);
}

export function setStatsVariables(variables: Variables, stats: RtpStats): void {
  variables.set('rtp_audio_in_raw_bytes', stats.bytesIn);
  variables.set('rtp_audio_in_media_bytes', stats.bytesIn);
  variables.set('rtp_audio_in_packet_count', stats.packetsIn);
  variables.set('rtp_audio_in_media_packet_count', stats.packetsIn);
  variables.set('rtp_audio_out_raw_bytes', stats.bytesOut);
  variables.set('rtp_audio_out_media_bytes', stats.bytesOut);
  variables.set('rtp_audio_out_packet_count', stats.packetsOut);
  variables.set('rtp_audio_out_media_packet_count', stats.packetsOut);
}
