/** Running and call states by FreeSWITCH's names and numbers. */
export const STATE_NUMBERS = {
  CS_NEW: 0,
  CS_INIT: 1,
  CS_ROUTING: 2,
  CS_EXECUTE: 4,
  CS_EXCHANGE_MEDIA: 5,
  CS_PARK: 6,
  CS_CONSUME_MEDIA: 7,
  CS_HANGUP: 10,
  CS_REPORTING: 11,
  CS_DESTROY: 12,
  CS_NONE: 13,
} as const;

export type ChannelState = keyof typeof STATE_NUMBERS;
export type CallState = 'DOWN' | 'RINGING' | 'EARLY' | 'ACTIVE' | 'RING_WAIT' | 'HANGUP';
