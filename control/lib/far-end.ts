/**
 * One side of an answered call, as it is reached within its SIP dialog. Kept with the call because Kamailio's
 * memory of a dialog ends with its process, and the call does not.
 */
export interface FarEnd {
  sipCallId: string;
  /** The tags of the other side, in whose name this one is spoken to, and of this side. */
  fromTag: string;
  toTag: string;
  /** The Contact that Kamailio gave to the other side. It leads to this one, by Kamailio. */
  contact: string;
  /** What is between Kamailio and this side, as a Route header has it; "" for nothing. */
  routes: string;
  /**
   * What rtpengine knows the audio by where it is not our id of the call: that was not there yet when the
   * call was relayed.
   */
  rtpId?: string;
}

/**
 * Both sides of a call that Kamailio relays itself, from what it says of it: the caller's, then the other
 * one.
 */
export function sidesOf({
  sipCallId,
  fromTag,
  toTag,
  toCaller,
  toCallee,
  callerRoutes,
  calleeRoutes,
  rtpId,
}: {
  sipCallId: string;
  fromTag: string;
  toTag: string;
  toCaller: string;
  toCallee: string;
  callerRoutes: string;
  calleeRoutes: string;
  rtpId?: string | undefined;
}): FarEnd[] {
  const both = { sipCallId, ...(rtpId !== undefined && { rtpId }) };
  return [
    { ...both, fromTag: toTag, toTag: fromTag, contact: toCaller, routes: callerRoutes },
    { ...both, fromTag, toTag, contact: toCallee, routes: calleeRoutes },
  ];
}

/**
 * The far end of a leg of a media node, from the header X-MV-Far-End that Kamailio has put on the caller's
 * INVITE, or on the answer of who was called.
 * @param dialog as the node has it
 * @param placed whether the node has called
 */
export function farEndOf(
  header: string | undefined,
  { callId, fromTag, toTag }: { callId: string; fromTag: string; toTag: string },
  placed: boolean,
): FarEnd | undefined {
  const [, contact, routes = ''] = /^\s*(sip:\S+)\s*(.*?)\s*$/.exec(header ?? '') ?? [];
  if (contact === undefined || callId === '' || fromTag === '' || toTag === '') return undefined;
  return {
    sipCallId: callId,
    contact,
    routes,
    ...(placed ? { fromTag, toTag } : { fromTag: toTag, toTag: fromTag }),
  };
}
