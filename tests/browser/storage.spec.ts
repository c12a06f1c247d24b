// Storage and workers in a real browser, without the screens.
import { expect, test } from '@playwright/test';
import { harnessAddress, importModel, modelFiles, OWN, open, useHarness } from './harness/page.ts';

useHarness();

test('a worker of ours has the policy of the page and loses its ways out', async ({ page }) => {
  await open(page);
  const said = await page.evaluate(async () => {
    const probe = maquette.probe();
    return {
      fetched: await probe.foreignFetch('https://example.com/'),
      socket: await probe.foreignSocket('wss://example.com/'),
      left: await probe.closeNetwork(),
    };
  });
  expect(said.fetched).toContain('TypeError');
  expect(said.socket).not.toBe('open');
  expect(said.left).toBe('');
});

test('a blob is named by its hash, read back as it was, and freed when no record names it', async ({ page }) => {
  await open(page);
  const got = await page.evaluate(async () => {
    const probe = maquette.probe();
    const bytes = new Uint8Array(9_000_000).map((_, i) => i % 251);
    const ref = await probe.put(bytes, 'bytes');
    const again = await probe.put(bytes, 'the same under another name');
    const back = await probe.read(ref, 'bytes');
    const failed = await probe
      .putAndFail(new Uint8Array([1, 2, 3]))
      .catch((error: unknown) => error instanceof Error && 'code' in error && error.code);
    const freed = await maquette.freeUnreferenced();
    const gone = await probe.read(ref, 'bytes').catch((error: unknown) => error instanceof Error && 'code' in error && error.code);
    return { ref, again, same: back.length === bytes.length && back.every((byte, i) => byte === bytes[i]), failed, freed, gone };
  });
  expect(got.ref.sha256).toMatch(/^[0-9a-f]{64}$/);
  expect(got.again).toEqual(got.ref);
  expect(got.same).toBe(true);
  expect(got.failed).toBe('storage/failed');
  expect(got.freed).toBe(9_000_003);
  expect(got.gone).toBe('storage/missing');
});

test('a record that is not what it should be is reported and left as it is', async ({ page }) => {
  await open(page);
  const got = await page.evaluate(async () => {
    const task = await maquette.createTask({
      name: 'Good',
      type: 'other',
      metricId: 'exact-match',
      seed: 1,
      shares: { train: 1, validation: 0, test: 0 },
      rows: [],
    });
    await (await maquette.database()).put('tasks', { id: 'broken', name: 7 });
    const names = (await maquette.listTasks()).map(({ name }) => name);
    await maquette.deleteTask(task.id);
    return { names, unreadable: maquette.unreadableRecords().map(({ store, key }) => `${store} ${key}`) };
  });
  expect(got.names).toEqual(['Good']);
  expect(got.unreadable).toEqual(['tasks broken']);
});

test('a change in one tab is heard in the other', async ({ context, page }) => {
  await open(page);
  const other = await context.newPage();
  await open(other);
  // It listens before anything is changed.
  await other.evaluate(() => {
    const heard = new Promise<string>((resolve) => {
      maquette.onChange(({ store, key }) => resolve(`${store} ${key === '' ? '' : 'with a key'}`));
    });
    Object.assign(globalThis, { heard });
  });
  await page.evaluate(() =>
    maquette.createTask({
      name: 'New',
      type: 'other',
      metricId: 'exact-match',
      seed: 1,
      shares: { train: 1, validation: 0, test: 0 },
      rows: [],
    }),
  );
  expect(await other.evaluate(() => Reflect.get(globalThis, 'heard'))).toBe('tasks with a key');
});

test('nothing is written of what was deleted meanwhile, and deleting it again is no error', async ({ page }) => {
  await open(page);
  const got = await page.evaluate(async () => {
    const shares = { train: 1, validation: 0, test: 0 };
    const rows = ['a', 'b', 'c'].map((id) => ({ id, messages: [{ role: 'user' as const, content: id }], targets: [id] }));
    const task = await maquette.createTask({ name: 'Gone', type: 'other', metricId: 'exact-match', seed: 1, shares, rows });
    const prompt = { system: 'Be short.', shots: [], cue: '', extract: 'whole' as const };
    const made = await maquette.engine().savePrompt(task.id, prompt);
    const result = {
      ...{ id: maquette.resultId(made.id, 'validation'), contestantId: made.id, taskId: task.id, split: 'validation' as const },
      ...{ metricId: 'exact-match', modelId: '', datasetVersion: 1, splitSeed: 1, shares, longestAnswer: 8 },
      ...{ rows: [], complete: true, seconds: 0, measuredAt: 0 },
    };
    await maquette.saveResult(result);
    const before = (await maquette.listResults(task.id)).length;
    await maquette.engine().deleteContestant(made.id);
    const again = await maquette.engine().deleteContestant(made.id);
    await maquette.saveResult(result);
    await maquette.deleteTask(task.id);
    const adapter = {
      ...{ id: 'late', name: 'Late', modelId: '', rank: 1, alpha: 1, rsLora: false, targets: [], parameters: 0, files: [], bytes: 0 },
      createdAt: 0,
    };
    const codeOf = (work: Promise<unknown>): Promise<unknown> =>
      work.then(
        () => 'written',
        (error: unknown) => error instanceof Error && 'code' in error && error.code,
      );
    return {
      before,
      again,
      trained: await codeOf(maquette.saveTrained(adapter, { ...made, adapterId: adapter.id })),
      rows: await codeOf(maquette.saveRows(task.id, rows)),
      left: [await maquette.listResults(task.id), await maquette.listContestants(task.id), await maquette.listAdapters()].flat().length,
    };
  });
  expect(got).toEqual({ before: 1, again: 0, trained: 'task/missing', rows: 'task/missing', left: 0 });
});

test('two changes of the rows at once both stand', async ({ page }) => {
  await open(page);
  const left = await page.evaluate(async () => {
    const shares = { train: 1, validation: 0, test: 0 };
    const rows = ['a', 'b', 'c'].map((id) => ({ id, messages: [{ role: 'user' as const, content: id }], targets: [id] }));
    const task = await maquette.createTask({ name: 'Rows', type: 'other', metricId: 'exact-match', seed: 1, shares, rows });
    const without = (gone: string) => maquette.changeRows(task.id, (there) => there.filter(({ id }) => id !== gone));
    await Promise.all([without('a'), without('c')]);
    return (await maquette.readDataset(task.id)).rows.map(({ id }) => id);
  });
  expect(left).toEqual(['b']);
});

test('erasing leaves nothing', async ({ page }) => {
  await open(page);
  await importModel(page);
  const left = await page.evaluate(async () => {
    await maquette.engine().eraseEverything();
    const root = await navigator.storage.getDirectory();
    const names: string[] = [];
    for await (const name of root.keys()) names.push(name);
    return { names, databases: (await indexedDB.databases()).map(({ name }) => name), models: (await maquette.listModels()).length };
  });
  expect(left.names).toEqual([]);
  expect(left.databases).toEqual([]);
  expect(left.models).toBe(0);
});

test('a full storage says so, and what was there stays', async ({ context, page }) => {
  await open(page);
  await importModel(page, modelFiles(OWN));
  const session = await context.newCDPSession(page);
  await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(harnessAddress()).origin, quotaSize: 1_500_000 });
  const got = await page.evaluate(async () => {
    const probe = maquette.probe();
    const noise = new Uint8Array(4_000_000);
    for (let at = 0; at < noise.length; at += 65_536) crypto.getRandomValues(noise.subarray(at, Math.min(at + 65_536, noise.length)));
    const code = await probe.put(noise, 'too large').then(
      () => 'kept',
      (error: unknown) => (error instanceof Error && 'code' in error ? error.code : String(error)),
    );
    return { code, models: (await maquette.listModels()).length };
  });
  await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(harnessAddress()).origin });
  expect(got).toEqual({ code: 'storage/full', models: 1 });
});
