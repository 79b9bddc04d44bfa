import type { Match } from './recognise.ts';
import { RtpPort } from './rtp-port.ts';
import { sipp, type SippMessage, type SippResult } from './sipp.ts';
import { spoken } from './voice.ts';

/** A prompt the caller waits for, and the keys pressed when it has been heard. */
export interface Expected {
  text: string;
  thenPress?: string;
}

export interface StoryLine {
  at: Date;
  kind: 'sip' | 'heard' | 'pressed' | 'missed';
  what: string;
}

export interface DemoCall {
  /** Answered, every prompt heard in order, ended by the platform. */
  ok: boolean;
  story: StoryLine[];
  /** The call as SIP knows it. */
  sipCallId: string;
  /** What came, at 8 kHz. */
  audio: Int16Array;
}

/**
 * Places one call as the development profile's carrier: SIPp speaks SIP from `localIp`, and an RTP port here
 * listens, recognises the prompts by their words and presses keys.
 * @param call.sip `ip:port` of the edge.
 * @param call.patienceMs how long each prompt, and the end after the last, may take.
 * @throws Error when SIPp or espeak-ng cannot be run.
 */
export async function placeDemoCall(call: {
  sip: string;
  from: string;
  to: string;
  expect: readonly Expected[];
  localIp?: string;
  patienceMs?: number;
  voice?: string;
  sippCommand?: string;
}): Promise<DemoCall> {
  const localIp = call.localIp ?? '127.0.0.1';
  const patienceMs = call.patienceMs ?? 20_000;
  // All references are made first, so that listening is not delayed by speaking.
  const awaited = await Promise.all(
    call.expect.map(async (expected) => ({ ...expected, sound: await spoken(expected.text, call.voice) })),
  );
  const rtp = await RtpPort.open(localIp);
  const story: StoryLine[] = [];
  const listening = listen(rtp, awaited, patienceMs, story);
  let result: SippResult;
  try {
    result = await sipp({
      scenario: 'caller',
      remote: call.sip,
      localIp,
      command: call.sippCommand,
      keys: { from: call.from, to: call.to, rtp_ip: localIp, rtp_port: rtp.port },
      // The scenario waits for the BYE through the whole conversation.
      patienceMs: patienceMs * (awaited.length + 1),
    });
  } finally {
    rtp.close();
    rtp.heard.abandon('the call is over');
  }
  const heardAll = await listening;
  story.push(...result.messages.filter(firstOfItsKind()).map(describe));
  story.sort((a, b) => a.at.getTime() - b.at.getTime());
  const answered = result.messages.some(
    ({ sent, text }) => !sent && text.startsWith('SIP/2.0 200') && /^CSeq:\s*\d+ INVITE/im.test(text),
  );
  const endedByPlatform = result.messages.some(
    ({ sent, startLine }) => !sent && startLine.startsWith('BYE '),
  );
  if (!result.ok && result.errors)
    story.push({
      at: new Date(),
      kind: 'missed',
      what: `SIPp: ${result.errors.trim().split('\n')[0] ?? ''}`,
    });
  return {
    ok: result.ok && answered && endedByPlatform && heardAll,
    story,
    sipCallId: /^Call-ID:\s*(\S+)/im.exec(result.messages[0]?.text ?? '')?.[1] ?? '',
    audio: rtp.heard.pcm(),
  };
}

/** Hears the prompts one after the other; false when one did not come, which ends the listening. */
async function listen(
  rtp: RtpPort,
  awaited: readonly (Expected & { sound: Int16Array })[],
  patienceMs: number,
  story: StoryLine[],
): Promise<boolean> {
  rtp.start();
  let sinceMs = 0;
  for (const { text, sound, thenPress } of awaited) {
    let match: Match;
    try {
      match = await rtp.heard.waitUntilHears(sound, { sinceMs, timeoutMs: patienceMs + sound.length / 8 });
    } catch (error) {
      story.push({
        at: new Date(),
        kind: 'missed',
        what: `"${text}": ${error instanceof Error ? error.message : String(error)}`,
      });
      return false;
    }
    sinceMs = match.startMs + match.heardUntilMs;
    const began = (rtp.heard.since?.getTime() ?? 0) + match.startMs;
    story.push({ at: new Date(began), kind: 'heard', what: `"${text}"` });
    if (!thenPress) continue;
    story.push({ at: new Date(), kind: 'pressed', what: thenPress });
    await rtp.press(thenPress);
  }
  return true;
}

/** Repetitions tell nothing new. */
function firstOfItsKind(): (message: SippMessage) => boolean {
  const seen = new Set<string>();
  return ({ sent, text, startLine }) => {
    const key = `${sent} ${startLine} ${/^CSeq:.*$/im.exec(text)?.[0] ?? ''}`;
    return seen.has(key) ? false : Boolean(seen.add(key));
  };
}

function describe({ at, sent, startLine, text }: SippMessage): StoryLine {
  const method = /^CSeq:\s*\d+ (\w+)/im.exec(text)?.[1] ?? '';
  const brief = startLine.startsWith('SIP/2.0 ')
    ? `${startLine.slice(8)} (${method})`
    : startLine.replace(/ SIP\/2\.0$/, '');
  return { at, kind: 'sip', what: `${sent ? '→' : '←'} ${brief}` };
}
