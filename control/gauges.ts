import { Gauge } from 'prom-client';
import type { Billing } from './billing/billing.ts';
import type { Admission } from './calls/admission.ts';
import type { Calls } from './calls/calls.ts';
import type { Journal } from './calls/journal.ts';
import type { ConferenceService } from './conferences/service.ts';
import type { Decisions } from './edge/decisions.ts';
import type { Dialogs } from './edge/dialogs.ts';
import type { EdgeSync } from './edge/edge-sync.ts';
import type { RelayedEnds } from './edge/relayed-ends.ts';
import type { Flows } from './flow/flows.ts';
import type { Authenticator } from './http/auth.ts';
import type { Registry } from './http/metrics.ts';
import type { RequestLimits } from './http/request-limits.ts';
import type { Peers } from './lib/peers.ts';
import type { Limits } from './limits/limits.ts';
import type { FreeSwitchMedia } from './media/freeswitch.ts';
import type { RecordingService } from './recordings/service.ts';
import type { Rtpengine } from './streams/rtpengine.ts';
import type { StreamService } from './streams/service.ts';
import type { EventStream } from './webhooks/stream.ts';
import type { DeliveryWorker } from './webhooks/worker.ts';

interface Rooms {
  calls: Calls;
  admission: Admission;
  flows: Flows;
  decisions: Decisions;
  dialogs: Dialogs;
  relayedEnds: RelayedEnds;
  journal: Journal;
  media: FreeSwitchMedia;
  conferences: ConferenceService;
  peers: Peers;
  limits: Limits;
  streams: StreamService;
  rtpengine: Rtpengine;
  recordings: RecordingService;
  billing: Billing;
  events: EventStream;
  webhooks: DeliveryWorker;
  authenticator: Authenticator;
  requests: RequestLimits;
  syncs: readonly EdgeSync[];
}

/** A gauge for everything that grows with the traffic and must come back to nothing. */
export function registerGauges(
  registry: Registry,
  {
    calls,
    admission,
    flows,
    decisions,
    dialogs,
    relayedEnds,
    journal,
    media,
    conferences,
    peers,
    limits,
    streams,
    rtpengine,
    recordings,
    billing,
    events,
    webhooks,
    authenticator,
    requests,
    syncs,
  }: Rooms,
): void {
  const gauges: Record<string, [help: string, value: () => number]> = {
    calls: ['Calls in progress in this process', () => calls.live().length],
    flows: ['Flows that run in this process', () => flows.size],
    decisions_unclaimed: [
      'Calls sent to a media node that has not taken them up yet',
      () => decisions.unclaimed,
    ],
    calls_being_ended: [
      'Calls that must end and could not be ended yet',
      () => dialogs.forsaken + relayedEnds.trying,
    ],
    journal_depth: ['Changes of calls that wait for the database', () => journal.depth],
    media_nodes_connected: [
      'Media nodes this process is connected to',
      () => media.nodes().filter((node) => node.connected).length,
    ],
    media_channels: ['Channels on media nodes known to this process', () => media.counters().channels],
    media_commands_pending: [
      'Commands to media nodes without a reply yet',
      () => media.counters().pendingCommands,
    ],
    conference_members: ['Callers of this process that are in a conference', () => conferences.members],
    peers_asked: ['Requests to other control processes that wait for a reply', () => peers.waiting],
    limit_places: [
      'Places of calls and second legs that this process holds in limits',
      () => limits.counters.held,
    ],
    limit_places_orphaned: [
      'Places of an earlier life of this process whose calls it has not seen',
      () => limits.counters.orphans,
    ],
    streams: ['Media streams that run', () => streams.counters.streams],
    streams_calls: ['Calls whose audio is copied for streams', () => streams.counters.calls],
    rtpengine_commands_pending: ['Commands to rtpengine without a reply yet', () => rtpengine.pending],
    recordings_running: ['Recordings in progress', () => recordings.counters.running],
    recordings_waiting: [
      'Recordings that have stopped and are not stored yet',
      () => recordings.counters.waiting + recordings.counters.finishing + recordings.counters.unmarked,
    ],
    holds_running: [
      'Legs in progress in this process that money is held for',
      () => billing.counters.running,
    ],
    calls_paid: ['Calls in this process that money is held for', () => admission.size],
    holds_unsettled: [
      'Legs that have ended and whose hold is not settled yet',
      () => billing.counters.unsettled,
    ],
    event_streams: ['Live streams of events connected to this process', () => events.size],
    request_limits: ['Keys and addresses whose requests are being limited or counted', () => requests.size],
    wrong_key_addresses: ['Addresses that have tried wrong keys', () => authenticator.guessers],
    edge_pieces_due: [
      'Pieces of the tables of all Kamailios that are not known to be as they should be',
      () => syncs.reduce((sum, sync) => sum + sync.counters.due, 0),
    ],
    webhook_attempts_running: ['Webhook attempts in flight', () => webhooks.running],
  };
  for (const [name, [help, value]] of Object.entries(gauges)) {
    new Gauge({
      name: `minivoice_${name}`,
      help,
      registers: [registry],
      collect() {
        this.set(value());
      },
    });
  }
}
