import { createServer, type Server } from 'node:http';
import { Histogram } from 'prom-client';
import { z } from 'zod';
import { applicationRoutes } from './applications/routes.ts';
import { ApplicationService } from './applications/service.ts';
import { ApplicationStore } from './applications/store.ts';
import { createBilling } from './billing/create.ts';
import { ledgerRoutes } from './billing/ledger/routes.ts';
import { LedgerService } from './billing/ledger/service.ts';
import { LedgerStore } from './billing/ledger/store.ts';
import { rateRoutes } from './billing/rates/routes.ts';
import { RateService } from './billing/rates/service.ts';
import { Admission } from './calls/admission.ts';
import { createCalls } from './calls/create.ts';
import { isTerminal, type Call } from './calls/call.ts';
import { callEvents, legEvents, testEvent } from './calls/event-schemas.ts';
import type { CallEvent } from './calls/events.ts';
import { callRoutes } from './calls/routes.ts';
import { CallRetention } from './calls/retention.ts';
import { CallOwners } from './calls/owners.ts';
import { SecondLegs } from './calls/second-legs.ts';
import { CallService } from './calls/service.ts';
import { Rooms } from './conferences/rooms.ts';
import { ConferenceService } from './conferences/service.ts';
import { addressesOf, portsOf, type Config } from './config.ts';
import { customerRoutes } from './customers/routes.ts';
import { CustomerService } from './customers/service.ts';
import { CustomerStore } from './customers/store.ts';
import { didRoutes } from './dids/routes.ts';
import { DidService } from './dids/service.ts';
import { DidStore } from './dids/store.ts';
import { AudioState } from './edge/audio-state.ts';
import { AudioWatch } from './edge/audio-watch.ts';
import { ChangeFeed } from './edge/change-feed.ts';
import { Decisions } from './edge/decisions.ts';
import { CallEnder } from './edge/call-ender.ts';
import { isThere } from './edge/dialog.ts';
import { Dialogs } from './edge/dialogs.ts';
import { edgeRoutes } from './edge/overview.ts';
import { Directory } from './directory/directory.ts';
import { EdgeSync } from './edge/edge-sync.ts';
import { GivenUpCalls } from './edge/given-up-calls.ts';
import { KamailioRpc } from './edge/kamailio-rpc.ts';
import { Legs } from './placing/legs.ts';
import { RelayedEnds } from './edge/relayed-ends.ts';
import { TrunkStates } from './edge/trunk-states.ts';
import { EdgeListener } from './edge/listener.ts';
import { Tries, triesBody } from './edge/tries.ts';
import { registerGauges } from './gauges.ts';
import { FlowFailure } from './flow/action.ts';
import { AnswerUrl } from './flow/answer-url.ts';
import { answerUrlRequests } from './flow/answer-url-docs.ts';
import { Flows } from './flow/flows.ts';
import { Intake } from './placing/intake.ts';
import { Outbound } from './placing/outbound.ts';
import { actionsBody, flowRoutes, stepsOf } from './placing/routes.ts';
import { FlowStates } from './flow/state.ts';
import { followMoney } from './placing/unpaid.ts';
import { createAuthenticator } from './http/auth.ts';
import { createIdempotency } from './http/idempotency.ts';
import { createRegistry } from './http/metrics.ts';
import type { EventDoc } from './http/sent-requests.ts';
import { RequestLimits } from './http/request-limits.ts';
import { createApi } from './http/server.ts';
import type { Change } from './lib/changes.ts';
import { connectDatabase, migrate } from './lib/database.ts';
import { createGuardedFetch } from './lib/guarded-fetch.ts';
import { ApiError } from './lib/errors.ts';
import { Ids, instanceOf } from './lib/ids.ts';
import type { Logger } from './lib/logger.ts';
import { connectRedis } from './lib/redis.ts';
import { Retention } from './lib/retention.ts';
import { stopInOrder } from './lib/stop-in-order.ts';
import { Peers } from './lib/peers.ts';
import { createSecrets } from './lib/secrets.ts';
import { VERSION } from './lib/version.ts';
import { Limits } from './limits/limits.ts';
import { NODE_LOST } from './media/media.ts';
import { AudioFiles } from './media/audio-files.ts';
import { EspeakEngine } from './media/espeak.ts';
import { FreeSwitchMedia } from './media/freeswitch.ts';
import { Prompts } from './media/speech.ts';
import { recordingEvents } from './recordings/event-schemas.ts';
import { recordingControl } from './recordings/control.ts';
import { recordingRoutes } from './recordings/routes.ts';
import { recordingAction, recordingReply } from './recordings/schema.ts';
import { RecordingService } from './recordings/service.ts';
import { RecordingStore } from './recordings/store.ts';
import { storagesOf } from './storages.ts';
import { streamEvents } from './streams/event-schemas.ts';
import { Rtpengine } from './streams/rtpengine.ts';
import { RunningStreams } from './streams/running-streams.ts';
import { StreamService } from './streams/service.ts';
import { trunkRoutes } from './trunks/routes.ts';
import { TrunkService } from './trunks/service.ts';
import { TrunkStore } from './trunks/store.ts';
import { CommitSignal } from './webhooks/commit-signal.ts';
import { DeliveryLogStore } from './webhooks/log-store.ts';
import { webhookRoutes } from './webhooks/routes.ts';
import { WebhookService } from './webhooks/service.ts';
import { WebhookStore } from './webhooks/store.ts';
import { streamRoutes } from './webhooks/stream-routes.ts';
import { StreamStore } from './webhooks/stream-store.ts';
import { EventStream } from './webhooks/stream.ts';
import { Tail } from './webhooks/tail.ts';
import type { Endpoint } from './webhooks/deliver.ts';
import { DeliveryWorker } from './webhooks/worker.ts';

export interface App {
  start(): Promise<void>;
  /**
   * Stops taking work and finishes what runs, for at most so many milliseconds. Calls in progress go on
   * without us.
   */
  stop(ms: number): Promise<void>;
}

/** For so long after its media node has died the sides of a call are looked for after a restart. */
const LEFT_BEHIND_MS = 10 * 60_000;

/** Prompts that may be in the making when one is asked for ahead of its turn. */
const PREPARED = 4;

/** The composition root: builds every room once and connects them. The only file that knows them all. */
export function createApp(config: Config, logger: Logger): App {
  const ids = new Ids(config.INSTANCE_ID);
  const db = connectDatabase(config.DATABASE_URL);
  // Lists have connections of their own: slow ones take none from calls in progress.
  const lists = connectDatabase(config.DATABASE_URL, 4);
  const redis = connectRedis(config.REDIS_URL, logger);
  const subscriber = connectRedis(config.REDIS_URL, logger);
  const secrets = createSecrets(config.SECRET_KEY);
  const guarded = { allowPrivate: config.MINIVOICE_PROFILE === 'development' };
  const guardedFetch = createGuardedFetch(guarded);
  const registry = createRegistry();

  // What a call needs to know, in memory.
  const stores = {
    customers: new CustomerStore(db),
    applications: new ApplicationStore(db, secrets),
    dids: new DidStore(db),
    trunks: new TrunkStore(db, secrets),
  };
  const directory = new Directory(stores);
  const rpcs = config.KAMAILIO_RPC_URLS.map((url) => new KamailioRpc(url));
  const syncs = rpcs.map((rpc) => new EdgeSync(rpc, directory, config.EDGE_TOKEN, logger));
  const authenticator = createAuthenticator(config.ADMIN_TOKEN, (hash) => stores.applications.findKey(hash));
  const requestLimits = new RequestLimits({
    perKey: config.API_REQUESTS_PER_KEY,
    perAddress: config.API_REQUESTS_PER_ADDRESS,
    proxies: config.TRUSTED_PROXIES,
  });
  const peers = new Peers({ instance: config.INSTANCE_ID, redis, subscriber, logger });

  // Calls, what is told of them, and to whom.
  const webhookStore = new WebhookStore(db);
  const deliveryLog = new DeliveryLogStore(db, lists);
  const endpointOf = (id: string): Endpoint | undefined => {
    if (!directory.loaded) throw new Error('the directory is not loaded yet');
    const application = directory.application(id);
    return application?.webhookUrl === undefined
      ? undefined
      : {
          url: application.webhookUrl,
          secrets: application.webhookSecrets,
          disabled: application.webhookDisabled !== undefined,
        };
  };
  const worker = new DeliveryWorker({
    store: webhookStore,
    fetch: guardedFetch.fetch,
    endpointOf,
    disable: (id, url, reason) => applications.disableWebhook(id, url, reason),
    logger,
  });
  const streamStore = new StreamStore(db);
  const tail = new Tail({ store: streamStore, logger });
  const stream = new EventStream({
    store: streamStore,
    tail,
    authenticator,
    limits: requestLimits,
    requestId: () => ids.next('req'),
    logger,
  });
  const commits = new CommitSignal({ redis, subscriber, onCommit: () => tail.wake(), logger });
  const wakeWebhooks = (due = true): void => {
    if (due) worker.wake();
    commits.committed();
  };
  const {
    store: callStore,
    journal,
    calls,
  } = createCalls({
    db,
    lists,
    ids,
    hasWebhook: (id) => directory.application(id)?.webhookUrl !== undefined,
    wake: wakeWebhooks,
    logger,
  });
  const { billing, holdStore, rates, rateStore } = createBilling({
    db,
    ids,
    customerOf: (id) => directory.customer(id),
    costs: calls,
    holdSeconds: config.HOLD_SECONDS,
    logger,
  });
  const changes = new ChangeFeed({
    directory,
    syncs,
    forget: (change) => authenticator.forget(change),
    rates,
    redis,
    subscriber,
    self: ids.next('req'),
    logger,
  });
  const onChange = (change: Change): Promise<void> => changes.announce(change);
  const limits = new Limits({ redis, instance: config.INSTANCE_ID, logger });

  // The flow and the media nodes it drives.
  const media = new FreeSwitchMedia({
    nodes: config.FREESWITCH_NODES,
    password: config.FREESWITCH_ESL_PASSWORD,
    kamailio: config.KAMAILIO_SIP,
    owner: String(config.INSTANCE_ID),
    logger,
  });
  const files = { folder: config.MEDIA_FILES_DIR, maxBytes: config.SPEECH_CACHE_MB * 1024 * 1024, logger };
  const prompts = new Prompts({
    engine: new EspeakEngine({ command: config.SPEECH_COMMAND, logger }),
    ...files,
  });
  const audioFiles = new AudioFiles({ fetch: guardedFetch.fetch, ...files });
  const answerUrl = new AnswerUrl({
    calls,
    fetch: guardedFetch,
    applicationOf: (id) => directory.application(id),
  });
  const recordingStore = new RecordingStore(db);
  const recordings = new RecordingService({
    store: recordingStore,
    calls,
    storedCall: (id) => callStore.find(id),
    storages: storagesOf(config),
    storage: config.RECORDING_STORAGE,
    mediaFiles: config.MEDIA_FILES_DIR,
    instance: config.INSTANCE_ID,
    publicUrl: config.PUBLIC_URL ?? `http://${config.HTTP_HOST}:${config.HTTP_PORT}`,
    logger,
  });
  const legs = new Legs({ directory, allowPrivate: guarded.allowPrivate });
  const admission = new Admission({
    calls,
    billing,
    limits,
    logger,
    customerOf: (id) => directory.customer(id),
    applicationOf: (id) => directory.application(id),
    trunksFor: (customerId, trunkId) => legs.trunksFor(customerId, trunkId),
  });
  const conferences = new ConferenceService({ rooms: new Rooms(redis), media, calls, logger });
  redis.on('ready', () => conferences.announce());
  const rtpengine = new Rtpengine(addressesOf(config.RTPENGINE_NG));
  const streams = new StreamService({
    calls,
    ids,
    rtpengine,
    logger,
    running: new RunningStreams(redis, logger),
    secretsOf: (id) => directory.application(id)?.webhookSecrets ?? [],
    allowPrivate: guarded.allowPrivate,
    host: config.STREAM_RTP_HOST,
    ports: portsOf(config.STREAM_RTP_PORTS),
  });
  const tries = new Tries({ calls, trunkOf: (id) => directory.trunk(id) });
  const flows = new Flows({
    calls,
    tries,
    conferences,
    streamer: streams,
    states: new FlowStates(redis, logger),
    ask: (question) => answerUrl.ask(question),
    answerMethodOf: (call) =>
      (call.applicationId && directory.application(call.applicationId)?.answerMethod) || 'GET',
    speak: (text, options) =>
      prompts
        .file(text, options)
        .catch((error: Error) => Promise.reject(new FlowFailure('media_unavailable', error.message))),
    // Ahead of its turn only while the engine has little to do: whoever is listening now comes first.
    prepare: (text, options) =>
      void (prompts.making < PREPARED && prompts.file(text, options).catch(() => undefined)),
    fetchAudio: (url) =>
      audioFiles
        .file(url)
        .catch((error: Error) => Promise.reject(new FlowFailure('answer_url_error', error.message))),
    recorder: {
      start: async (call, channel) => void (await recordings.start(call, channel)),
      stop: async (call, channel) => void (await recordings.stop(call, channel)),
      resumed: (call, channel) => recordings.resumed(call, channel),
    },
    admission,
    legs: new SecondLegs({ admission, ways: legs }),
    logger,
  });

  const audioState = new AudioState(rpcs);
  const givenUp = new GivenUpCalls({ rpcs, calls, logger });
  const outbound = new Outbound({
    ids,
    calls,
    admission,
    flows,
    media,
    logger,
    audioAvailable: () => audioState.available,
    forbid: (id) => givenUp.add(id),
    ways: legs,
    applicationOf: (id) => directory.application(id),
    allowPrivate: guarded.allowPrivate,
    instance: config.INSTANCE_ID,
  });

  // Kamailio's counterpart.
  const ender = new CallEnder({ rpcs, audio: rtpengine, logger });
  const relayedEnds = new RelayedEnds({ calls, ender });
  const decisions = new Decisions({
    directory,
    calls,
    flows,
    admission,
    endAsked: (id) => relayedEnds.asked(id),
    instance: config.INSTANCE_ID,
    mediaReady: () => media.nodes().some((node) => node.connected),
  });
  const decisionSeconds = new Histogram({
    name: 'minivoice_route_decision_duration_seconds',
    help: 'Time from a decision request of Kamailio to the end of its reply',
    buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5],
    registers: [registry],
  });
  const dialogs = new Dialogs({
    rpcs,
    calls,
    ender,
    audio: rtpengine,
    logger,
    isPaid: (to) => {
      const did = decisions.asked ? directory.didByNumber(to) : undefined;
      return did !== undefined && admission.costsToTake({ customerId: did.customerId, to });
    },
  });
  const intake = new Intake({
    calls,
    stored: callStore,
    flows,
    media,
    logger,
    instance: config.INSTANCE_ID,
    answerUrlOf: (id) => directory.application(id)?.answerUrl,
    adopt: (call) => admission.adopt(call),
    claim: (id) => decisions.claim(id),
  });

  followMoney({
    billing,
    calls,
    flows,
    endUntilOver: (call, ending) => relayedEnds.endUntilOver(call, ending),
  });

  const audioWatch = new AudioWatch({
    rtpengine,
    calls,
    logger,
    instance: config.INSTANCE_ID,
    legOf: (id) => flows.get(id)?.answeredLeg,
    isThere: (ends) => isThere(rpcs, ends),
    end: (call, ending) => {
      const flow = flows.get(call.id);
      if (flow) return void (ending.failure ? flow.fail(ending.failure) : flow.abandon());
      if (ending.failure) return relayedEnds.endUntilOver(call, ending);
      // Nobody is there who would answer a BYE.
      calls.end(call, ending);
      void ender.tryToEnd(call);
    },
  });

  // What the API does to a call, be it here or in the care of another control process.
  const owners = new CallOwners({ calls, peers, instance: config.INSTANCE_ID });
  const hangUp = owners.everywhere('hangup', { body: z.object({}), reply: z.boolean() }, async (call) => {
    const flow = flows.get(call.id);
    if (flow) {
      await flow.hangup();
      return true;
    }
    return relayedEnds.end(call, {
      hangup: {
        by: 'api',
        ...(call.answeredAt ? { cause: 'NORMAL_CLEARING' } : { cause: 'ORIGINATOR_CANCEL', sip_code: 487 }),
      },
    });
  });
  const noteTries = owners.everywhere('tries', { body: triesBody, reply: z.boolean() }, tries.note);
  const listener = new EdgeListener({
    decisions,
    logger,
    metrics: registry,
    token: config.EDGE_TOKEN,
    observe: (seconds) => decisionSeconds.observe(seconds),
    tried: ({ call: id, ...body }) =>
      void noteTries({ id } as Call, body).catch((error: unknown) =>
        logger.debug({ err: error, call: id }, 'what Kamailio tried for a call could not be noted'),
      ),
  });
  const replaceActions = owners.everywhere(
    'actions',
    { body: actionsBody, reply: z.boolean() },
    async (call, body) => (await flows.get(call.id)?.replace(stepsOf(body))) ?? false,
  );
  const controlRecording = owners.everywhere(
    'recording',
    { body: recordingAction, reply: recordingReply, timeoutMs: 4000 },
    recordingControl({
      service: recordings,
      channelOf: (id) => flows.get(id)?.channel,
    }),
  );

  /** What dead media nodes had left when an earlier life of this process ended may not be ended yet. */
  const leftBehind = async (): Promise<void> => {
    for (const call of await callStore.endedBy(NODE_LOST, new Date(Date.now() - LEFT_BEHIND_MS)))
      if (instanceOf(call.id) === config.INSTANCE_ID) dialogs.forsake(call);
  };

  const callService = new CallService({
    calls,
    store: callStore,
    attemptsOf: async (id) =>
      (await webhookStore.attemptsOfCall(id)).map(({ at, ...attempt }) => ({
        at,
        kind: 'webhook.attempted',
        detail: {
          event: attempt.event,
          delivery_id: attempt.deliveryId,
          attempt: attempt.attempt,
          status: attempt.status,
          took_ms: attempt.tookMs,
          error: attempt.error,
        },
      })),
    // Kamailio can end a call whose process is away, too. Its record is finished when that process is back.
    hangup: (call) =>
      hangUp(call, {}).catch(async (error: unknown) => {
        if (error instanceof ApiError && error.code === 'service_unavailable' && (await ender.end(call)))
          return true;
        throw error;
      }),
  });

  registerGauges(registry, {
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
    events: stream,
    webhooks: worker,
    authenticator,
    requests: requestLimits,
    syncs,
  });

  const services = {
    ids,
    onChange,
    allowPrivate: guarded.allowPrivate,
    customerExists: async (id: string) => (await stores.customers.get(id)) !== undefined,
    applicationOwner: async (id: string) => (await stores.applications.get(id))?.customerId,
  };
  const applications = new ApplicationService({
    store: stores.applications,
    webhooks: deliveryLog,
    ...services,
  });
  const webhooks = new WebhookService({
    store: deliveryLog,
    endpointOf,
    enable: (id) => applications.enableWebhook(id),
    wake: wakeWebhooks,
    fetch: guardedFetch.fetch,
    ids,
  });
  const trunks = new TrunkService({ store: stores.trunks, ...services });
  const trunkStates = new TrunkStates({
    rpcs,
    directory,
    note: (id, status) => trunks.noteStatus(id, status),
    logger,
  });
  const idempotency = createIdempotency(db, secrets);
  const dayMs = 24 * 3600 * 1000;
  const callRetention = new CallRetention({
    store: callStore,
    keepers: [holdStore, recordingStore],
    days: config.CALL_RETENTION_DAYS,
  });
  const retention = new Retention({
    kept: [
      {
        name: 'webhook deliveries',
        purge: (limit) =>
          deliveryLog.purge(new Date(Date.now() - config.WEBHOOK_RETENTION_DAYS * dayMs), limit),
      },
      { name: 'calls', purge: (limit) => callRetention.purge(limit) },
      { name: 'idempotency keys', purge: (limit) => idempotency.purge(limit) },
    ],
    logger,
  });
  const api = createApi({
    endpoints: [
      ...callRoutes(callService),
      ...flowRoutes({ calls: callService, outbound, replace: replaceActions }),
      ...recordingRoutes({
        service: recordings,
        call: (id, scope) => callService.get(id, scope),
        control: controlRecording,
      }),
      ...customerRoutes(new CustomerService({ store: stores.customers, ...services })),
      ...applicationRoutes(applications),
      ...webhookRoutes(webhooks),
      ...streamRoutes(),
      ...didRoutes(new DidService({ store: stores.dids, ...services })),
      ...trunkRoutes(trunks),
      ...rateRoutes(
        new RateService({ store: rateStore, customer: (id) => stores.customers.get(id), ids, onChange }),
      ),
      ...edgeRoutes({
        kamailios: rpcs.map((rpc, index) => ({
          rpc,
          synced: () => syncs[index]?.synced === true,
        })),
        rtpengines: () => rtpengine.status(),
        mediaNodes: () => media.nodes(),
      }),
      ...ledgerRoutes(
        new LedgerService({
          store: new LedgerStore(db, lists),
          customer: (id) => stores.customers.get(id),
          ids,
        }),
      ),
    ],
    events: Object.values({
      ...({ ...callEvents, ...legEvents, ...recordingEvents, ...streamEvents } satisfies Record<
        CallEvent,
        EventDoc
      >),
      ...testEvent,
    }),
    requests: answerUrlRequests,
    authenticator,
    limits: requestLimits,
    idempotency,
    readiness: [
      {
        name: 'database',
        check: () =>
          db.raw('SELECT 1').then(() => (journal.accepting ? undefined : 'calls cannot be written')),
      },
      { name: 'redis', check: () => redis.ping().then(() => undefined) },
      {
        name: 'limits',
        check: () => Promise.resolve(limits.open ? undefined : 'calls in progress are being counted'),
      },
      {
        name: 'media',
        check: () =>
          Promise.resolve(
            media.nodes().some((node) => node.connected) ? undefined : 'no media node is connected',
          ),
      },
      {
        name: 'rtpengine',
        check: async () => ((await rtpengine.answers()) ? undefined : 'no rtpengine answers'),
      },
      {
        name: 'kamailio',
        check: () =>
          Promise.resolve(
            syncs.some((sync) => sync.synced) ? undefined : `no kamailio has its tables${filled(syncs)}`,
          ),
      },
    ],
    registry,
    logger,
    requestId: () => ids.next('req'),
    version: VERSION,
    publicUrl: config.PUBLIC_URL,
  });
  const server: Server = createServer(api);

  return {
    async start() {
      const { missing } = calls.lifecycle;
      if (missing.length > 0)
        throw new Error(`nobody has taken these steps of a call: ${missing.join(', ')}`);
      await migrate(db);
      await changes.listen();
      await directory.load();
      await billing.start();
      await billing.recover(config.INSTANCE_ID);
      await listener.listen(config.EDGE_PORT, config.EDGE_HOST);
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(config.HTTP_PORT, config.HTTP_HOST, () => resolve());
      });
      await intake.start(async () => {
        await recordings.recover();
        const going = calls.live().filter(isLive);
        // A call's second legs are remembered by Redis alone.
        await limits.start(
          (id) => isLive(calls.get(id)),
          going.flatMap(({ id, direction, customerId, applicationId, trunkId }) =>
            direction === 'outbound' && applicationId
              ? [{ callId: id, leg: 0, customerId, applicationId, trunkId }]
              : [],
          ),
        );
      });
      changes.start();
      commits.start();
      stream.attach(server);
      peers.start();
      conferences.start();
      for (const sync of syncs) sync.start();
      trunkStates.start();
      dialogs.start();
      audioState.start();
      audioWatch.start();
      void leftBehind().catch((error: unknown) =>
        logger.warn({ err: error }, 'calls whose media node has died could not be looked for'),
      );
      worker.start();
      retention.start();
    },
    stop(ms) {
      decisions.drain();
      outbound.drain();
      for (const part of [
        changes,
        stream,
        peers,
        conferences,
        dialogs,
        relayedEnds,
        audioState,
        audioWatch,
        trunkStates,
      ])
        part.stop();
      return stopInOrder(
        [
          { name: 'retention', share: 0.05, stop: () => retention.stop() },
          { name: 'api', share: 0.25, stop: (patience) => closeServer(server, patience) },
          { name: 'edge sync', share: 0.1, stop: () => Promise.all(syncs.map((sync) => sync.stop())) },
          { name: 'route decisions', share: 0.05, stop: () => listener.close().then(() => decisions.stop()) },
          { name: 'media', share: 0.05, stop: () => media.stop() },
          { name: 'limits', share: 0.05, stop: () => limits.stop() },
          { name: 'streams', share: 0.05, stop: () => streams.close().then(() => rtpengine.close()) },
          // It waits for commits, so before the journal.
          { name: 'recordings', share: 0.1, stop: (patience) => recordings.close(patience * GRACE) },
          // It settles what has just ended.
          { name: 'billing', share: 0.1, stop: () => billing.stop() },
          {
            name: 'journal',
            share: 0.1,
            stop: async (patience) => {
              const left = await journal.close(patience * GRACE);
              if (left > 0)
                logger.error(
                  { left },
                  'changes of calls are lost: the database did not take them before the end',
                );
            },
          },
          { name: 'webhooks', share: 0.05, stop: (patience) => worker.stop(patience * GRACE) },
          {
            name: 'connections',
            share: 0.05,
            stop: () => {
              guardedFetch.close();
              redis.disconnect();
              subscriber.disconnect();
              return Promise.all([db.destroy(), lists.destroy()]);
            },
          },
        ],
        ms,
        logger,
      );
    },
  };
}

/**
 * Those that keep their own time get so much of what there is: they shall say themselves what they have not
 * done.
 */
const GRACE = 0.9;

/** Finishes what is being answered; connections that are still open after half of the time are cut. */
async function closeServer(server: Server, ms: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const cut = setTimeout(() => server.closeAllConnections(), ms / 2);
  await closed;
  clearTimeout(cut);
}

const isLive = (call: Call | undefined): boolean => call !== undefined && !isTerminal(call.status);

/** How far those that are being filled are: whoever waits for us sees that it goes on. */
const filled = (syncs: readonly EdgeSync[]): string =>
  syncs.map(({ counters: { due, pieces } }) => ` (${pieces - due} of ${pieces} pieces)`).join('');
