import { placeDemoCall } from '../phone/demo-caller.ts';
import { PROMPTS, startSimpleIvr } from '../../examples/simple-ivr/server.ts';
import { Api, eventually } from '../demo/api.ts';
import { CALLER, NUMBER, readSeed, seed, type Seed } from '../demo/seed.ts';
import { print, shortcomings, storyOf, type TimelineEntry } from '../demo/story.ts';
import { homeAt } from '../home.ts';
import { takenPort } from '../ports.ts';
import { seconds, step } from '../steps.ts';
import { up } from './up.ts';

interface CallObject {
  id: string;
  status: string;
  ended_at?: string;
}

/** Sets up, starts everything, has a carrier place a call, and tells its story. Leaves the system up. */
export async function demo(): Promise<number> {
  const began = performance.now();
  const { coordinates } = await up();
  const home = homeAt(coordinates.home);
  const known = await readSeed(home);
  // The same port every time, where it is free, so that the application's URLs stay as they are.
  const taken = await takenPort(coordinates.ports, ['spare']);
  const application = await startSimpleIvr({
    secret: known.webhookSecret,
    port: taken ? 0 : coordinates.ports.spare,
  });
  try {
    let seeded: Seed | undefined;
    await step('A customer, an application and a number, through the API', async () => {
      seeded = await seed(home, known, coordinates, application.url);
    });
    if (!seeded) return 1;
    const since = new Date(Date.now() - 1000).toISOString();
    let caller: Awaited<ReturnType<typeof placeDemoCall>> | undefined;
    await step(
      `A call from ${CALLER} to ${NUMBER}`,
      async () => {
        caller = await placeDemoCall({
          sip: coordinates.sip,
          from: CALLER,
          to: NUMBER,
          expect: [
            { text: PROMPTS.greeting },
            { text: PROMPTS.menu, thenPress: '1' },
            { text: PROMPTS.sales },
            { text: PROMPTS.goodbye },
          ],
        });
      },
      { long: true },
    );
    if (!caller) return 1;

    const api = new Api(coordinates.api, seeded.apiKey);
    const query = new URLSearchParams({ did: NUMBER, since, limit: '1' });
    const call = await eventually(
      async () => {
        const { data } = await api.call<{ data: CallObject[] }>('GET', `/v1/calls?${query.toString()}`);
        return data.find((one) => one.ended_at !== undefined);
      },
      10_000,
      'The call did not reach MiniVoice, or has not ended: see ./minivoice logs.',
    );
    const ours = () =>
      application.received.filter((entry) => entry.call_id === call.id || entry.call_id === undefined);
    // The last webhook is on its way when the call ends.
    await eventually(
      () => Promise.resolve(ours().some((entry) => entry.event === `call.${call.status}`) || undefined),
      10_000,
      '',
    ).catch(() => undefined);
    const { data: timeline } = await api.call<{ data: TimelineEntry[] }>(
      'GET',
      `/v1/calls/${call.id}/events`,
    );

    console.log(`\nThe story of ${call.id}\n`);
    console.log(print(storyOf(caller.story, timeline, ours()), process.stdout.isTTY).join('\n'));
    console.log(`\nThe call, as GET /v1/calls/${call.id} shows it\n\n${JSON.stringify(call, null, 2)}\n`);
    const wrong = shortcomings(call, caller.ok, timeline, ours());
    if (wrong.length > 0) {
      console.log(
        `✗ The call did not do what it should:\n${wrong.map((sentence) => `  ${sentence}`).join('\n')}\n  ./minivoice logs tells more.`,
      );
      return 1;
    }
    console.log(`✓ The call did what it should. The whole demo took ${seconds(performance.now() - began)}.`);
    console.log(
      `  MiniVoice stays up: the API is ${coordinates.api}, its documentation ${coordinates.api}/docs. ./minivoice down stops it.`,
    );
    return 0;
  } finally {
    await application.close();
  }
}
