import { expect } from 'chai';
import { Receiver } from '../lib/receiver.ts';
import { createDatabase, type TestDatabase } from './database.ts';
import { PostOffice } from './post-office.ts';

// `./minivoice bench webhook-chaos` does the same with 100,000 events and workers in processes that are
// killed.
describe('a receiver at its worst', () => {
  let database: TestDatabase;
  let office: PostOffice;
  before(async () => {
    database = await createDatabase();
  });
  after(() => database.drop());
  beforeEach(async () => {
    office = await PostOffice.open(database);
  });
  afterEach(() => office.close());

  it('that fails at random, is slow, closes early and is down for an hour gets every event, each under one id, in order of first attempts', async function () {
    this.timeout(60_000);
    const EVENTS = 240;
    const began = office.time;
    const down = (): boolean => office.time >= began + 5_000 && office.time < began + 3_605_000;
    const taken = new Map<string, number>();
    const attempts = new Map<string, { ids: Set<unknown>; numbers: number[] }>();
    const firsts: string[] = [];
    let n = 0;
    const receiver = await Receiver.start((request, response) => {
      const { call, data } = JSON.parse(request.body) as { call: { id: string }; data: { seq: number } };
      const mark = `${call.id}/${data.seq}`;
      const known = attempts.get(mark) ?? { ids: new Set(), numbers: [] };
      if (!attempts.has(mark)) firsts.push(mark);
      attempts.set(mark, known);
      known.ids.add(request.headers['x-minivoice-event-id']);
      known.numbers.push(Number(request.headers['x-minivoice-attempt']));
      const take = (): void => void taken.set(mark, (taken.get(mark) ?? 0) + 1);
      if (down()) return void response.destroy();
      // Not for ever: an event that has failed often enough is taken, or the schedule would come to its end.
      switch (known.numbers.length > 5 ? 7 : n++ % 8) {
        case 0:
          return void response.writeHead(500).end();
        case 1:
          return void response.destroy();
        case 2: // the status is a success, whatever becomes of the body
          take();
          response.writeHead(200, { 'content-length': '100' });
          return void response.write('half', () => response.destroy());
        case 3:
          return void response.writeHead(503, { 'retry-after': '30' }).end();
        case 4: // taken, but the sender never hears of it
          take();
          return void response.destroy();
        case 5:
          take();
          return void setTimeout(() => response.writeHead(200).end(), 50);
        default:
          take();
          response.writeHead(204).end();
      }
    });
    try {
      office.endpoints.set('app_1', { url: receiver.url(), secrets: [] });
      const workers = [office.worker(), office.worker()];
      await office.put(
        ...Array.from({ length: EVENTS }, (_, i) => office.event('app_1', `call_${i >> 2}`, i & 3)),
      );
      // Whenever nothing can be done any more, the clock goes on to where something can.
      for (
        let rows = await office.deliveries();
        rows.some(({ status }) => status === 'pending');
        rows = await office.deliveries()
      ) {
        const due = rows
          .filter(({ status }) => status === 'pending')
          .map(({ next_attempt_at: at }) => at?.getTime() ?? 0);
        if (workers.every(({ running }) => running === 0))
          office.pass(Math.max(1, (Math.min(...due) - office.time) / 1000));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      const rows = await office.deliveries();
      expect(rows.filter(({ status }) => status !== 'delivered')).to.deep.equal([]);
      expect(taken.size).to.equal(EVENTS);
      for (const [mark, { ids, numbers }] of attempts) {
        expect(ids.size, `${mark} has one id`).to.equal(1);
        // One number may come twice: an attempt that met a connection which had just been closed is made on
        // another.
        expect([...new Set(numbers)], `${mark} counts its attempts`).to.deep.equal(
          Array.from({ length: Math.max(...numbers) }, (_, i) => i + 1),
        );
      }
      expect(
        [...taken.values()].some((times) => times > 1),
        'what was taken unheard comes again',
      ).to.equal(true);
      for (const mark of firsts) {
        const [call = '', seq] = mark.split('/');
        if (Number(seq) > 0)
          expect(firsts.indexOf(`${call}/${Number(seq) - 1}`), mark).to.be.within(
            0,
            firsts.indexOf(mark) - 1,
          );
      }
    } finally {
      await receiver.stop();
    }
  });
});
