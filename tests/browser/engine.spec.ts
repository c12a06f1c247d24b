// The engine's contract in a real browser, without the screens.
import { chromium, expect, test } from '@playwright/test';
import { importModel, modelFiles, OWN, open, useHarness } from './harness/page.ts';

useHarness();

test('without a file or with the wrong ones, the code says what is missing', async ({ page }) => {
  await open(page);
  const code = await page.evaluate(() =>
    maquette
      .engine()
      .inspectModel([{ path: 'notes.txt', file: new Blob(['hello']) }])
      .then(
        () => 'accepted',
        (error: unknown) => (error instanceof Error && 'code' in error ? error.code : String(error)),
      ),
  );
  expect(code).toBe('model/missing-files');
});

test('a model is kept, loaded, asked, measured and there again after a reload', async ({ page }) => {
  await open(page);
  const modelId = await importModel(page);
  const taskId = await page.evaluate(async (id) => {
    const rows = Array.from({ length: 12 }, (_, i) => ({
      id: `row-${i}`,
      messages: [{ role: 'user' as const, content: `What does ${['Tim', 'Lily', 'Zed', 'Sam'][i % 4]} like, number ${i}?` }],
      targets: [['cats', 'red', 'apples', 'toys'][i % 4] ?? ''],
    }));
    const task = await maquette.createTask({
      name: 'Likes',
      type: 'other',
      metricId: 'exact-match',
      seed: 7,
      shares: { train: 0.5, validation: 0.5, test: 0 },
      modelId: id,
      rows,
    });
    return task.id;
  }, modelId);
  const got = await page.evaluate(async (task) => {
    const api = maquette.engine();
    const signal = new AbortController().signal;
    const base = await api.ensureBase(task);
    const prompt = await api.savePrompt(task, {
      system: 'Answer in one word.',
      shots: await api.drawShots(task, 1, 3),
      cue: '',
      extract: 'whole',
    });
    await api.measure([base.id, prompt.id], 'validation', () => undefined, signal);
    const board = await api.board(task, 'validation');
    const pieces: string[] = [];
    const reply = await api.chat(
      {
        contestantId: base.id,
        messages: [{ role: 'user', content: 'Once upon a time' }],
        strength: 1,
        temperature: 0,
        topK: 0,
        topP: 1,
        seed: 1,
        maxTokens: 24,
      },
      (piece) => pieces.push(piece),
      signal,
    );
    const report = await api.dataReport(task);
    const preview = await api.previewRow(task, 'row-0', prompt.prompt);
    return {
      rows: board.rows.map(({ name, state, score }) => ({ name, state, n: score?.n })),
      pieces: pieces.join(''),
      reply,
      report,
      preview,
      use: await maquette.storageUse(),
    };
  }, taskId);
  expect(got.rows.map(({ name }) => name).sort()).toEqual(['Base', 'Prompt 1']);
  expect(got.rows.every(({ state, n }) => state === 'done' && n === 6)).toBe(true);
  expect(got.reply.text).toBe(got.pieces);
  expect(got.reply.replyTokens).toBeGreaterThan(0);
  expect(got.report.counts).toEqual({ train: 6, validation: 6, test: 0, unused: 0 });
  expect(got.report.rows.every(({ tokens }) => (tokens ?? 0) > 4)).toBe(true);
  expect(got.preview.tokens.at(-1)?.kind).toBe('stop');
  expect(got.use.models).toBeGreaterThan(100_000);

  await page.reload();
  await page.waitForFunction(() => 'maquette' in globalThis);
  const after = await page.evaluate(async (task) => {
    const api = maquette.engine();
    const [model] = await maquette.listModels();
    const status = await api.loadModel(model?.id ?? '', () => undefined, new AbortController().signal);
    const rows = (await api.board(task, 'validation')).rows.map(({ name, state, score }) => ({ name, state, n: score?.n }));
    await api.deleteModel(model?.id ?? '');
    return { status, rows, use: await maquette.storageUse() };
  }, taskId);
  expect(after.status.modelId).toBe(modelId);
  expect(after.rows).toEqual(got.rows);
  expect(after.use.models).toBe(0);
});

test('what is deleted while others are measured leaves nothing behind', async ({ page }) => {
  await open(page);
  const modelId = await importModel(page);
  const got = await page.evaluate(async (id) => {
    const api = maquette.engine();
    const rows = Array.from({ length: 12 }, (_, i) => ({
      id: `row-${i}`,
      messages: [{ role: 'user' as const, content: `What is ${i} and 1?` }],
      targets: [String(i + 1)],
    }));
    const shares = { train: 0.5, validation: 0.5, test: 0 };
    const task = await maquette.createTask({
      ...{ name: 'Sums', type: 'other' as const, metricId: 'exact-match', seed: 7, shares, modelId: id, rows, longestAnswer: 60 },
    });
    const words = (system: string) => ({ system, shots: [], cue: '', extract: 'whole' as const });
    const first = await api.savePrompt(task.id, words('Count.'));
    const second = await api.savePrompt(task.id, words('Count again.'));
    let code: unknown;
    let deleted: Promise<unknown> | undefined;
    const begun = (contestantId: string): void => {
      if (contestantId !== first.id) return;
      // Both at once: a quick device may be done with the first one before a second call arrives.
      deleted ??= Promise.all([
        api.deleteContestant(first.id).catch((error: unknown) => {
          code = error instanceof Error && 'code' in error && error.code;
        }),
        api.deleteContestant(second.id),
      ]);
    };
    await api.measure([first.id, second.id], 'validation', (p) => begun(p.contestantId), new AbortController().signal);
    await deleted;
    const names = (await maquette.listContestants(task.id)).map(({ name }) => name);
    return { code, names, measured: (await maquette.listResults(task.id)).length };
  }, modelId);
  expect(got.code).toBe('engine/busy');
  expect(got.names).toEqual(['Prompt 1']);
  expect(got.measured).toBe(1);
});

test('two jobs at once: the second is told what runs', async ({ page }) => {
  await open(page);
  await importModel(page);
  const code = await page.evaluate(async () => {
    const api = maquette.engine();
    const stop = new AbortController();
    const [model] = await maquette.listModels();
    const request = {
      messages: [{ role: 'user' as const, content: 'Once' }],
      strength: 1,
      temperature: 1,
      topK: 0,
      topP: 1,
      seed: 1,
      maxTokens: 200,
    };
    let begun: () => void = () => undefined;
    const writing = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const first = api.chat(request, () => begun(), stop.signal);
    await Promise.race([writing, first]);
    const second = await api
      .loadModel(model?.id ?? '', () => undefined, stop.signal)
      .catch((error: unknown) => error instanceof Error && 'code' in error && error.code);
    stop.abort();
    const reply = await first;
    return { second, end: reply.end };
  });
  expect(code.second).toBe('engine/busy');
  expect(['stopped', 'stop-token', 'longest']).toContain(code.end);
});

test('a trained adapter joins the board, goes out as PEFT and GGUF, and comes back with the same answers', async ({ page }) => {
  await open(page);
  const modelId = await importModel(page);
  const got = await page.evaluate(async (id) => {
    const api = maquette.engine();
    const signal = new AbortController().signal;
    const rows = Array.from({ length: 12 }, (_, i) => ({
      id: `row-${i}`,
      messages: [{ role: 'user' as const, content: `What does ${['Tim', 'Lily', 'Zed', 'Sam'][i % 4]} like? ${i}` }],
      targets: ['green apples'],
    }));
    const task = await maquette.createTask({
      name: 'Likes',
      type: 'other',
      metricId: 'contains',
      seed: 7,
      shares: { train: 0.5, validation: 0.5, test: 0 },
      modelId: id,
      rows,
    });
    const base = await api.ensureBase(task.id);
    const question = {
      messages: [{ role: 'user' as const, content: 'What does Tim like? 0' }],
      temperature: 0,
      topK: 0,
      topP: 1,
      seed: 1,
      maxTokens: 12,
    };
    const ask = async (contestantId: string, strength = 1): Promise<string> =>
      (await api.chat({ ...question, contestantId, strength }, () => undefined, signal)).text;
    const spec = {
      taskId: task.id,
      method: 'lora',
      config: {
        rank: 4,
        alpha: 8,
        epochs: 12,
        batch: 3,
        microBatch: 3,
        learningRate: 1e-2,
        schedule: 'constant',
        warmup: 0,
        validations: 2,
        patience: 0,
      },
      prompt: base.prompt,
      name: 'Small add-on',
      seed: 3,
      pinned: [{ name: 'Tim', messages: question.messages }],
    };
    const plan = await api.planFit(spec);
    const events: { kind: string }[] = [];
    const losses: number[] = [];
    const made = await api.fit(
      spec,
      (event) => {
        events.push({ kind: event.kind });
        if (event.kind === 'point' && event.name === 'loss') losses.push(event.value);
      },
      signal,
    );
    const before = await ask(base.id);
    const after = await ask(made.id);
    const none = await ask(made.id, 0);
    await api.measure([base.id, made.id], 'validation', () => undefined, signal);
    const board = await api.board(task.id, 'validation');
    const [run] = await maquette.listRuns(task.id);
    const targets = await api.exportTargets(made.id);
    const zip = await api.exportContestant(made.id, 'peft');
    const gguf = await api.exportContestant(made.id, 'gguf-lora');
    const fromZip = await api.importContestant(task.id, [{ path: zip.name, file: zip.content }]);
    const fromGguf = await api.importContestant(task.id, [{ path: gguf.name, file: gguf.content }]);
    const again = [await ask(fromZip.id), await ask(fromGguf.id)];
    // The same weights under words: they are another file, and come back with it.
    const prompt = { ...made.prompt, system: 'Say it in two words.' };
    const worded = { ...made, id: 'worded', prompt };
    await maquette.saveContestant(worded);
    const words = await api.exportContestant(worded.id, 'prompt-json');
    const both = await api.importContestant(
      task.id,
      [zip, words].map(({ name, content }) => ({ path: name, file: content })),
    );
    const underWords = {
      limits: (await api.exportTargets(worded.id)).map(({ limits }) => limits),
      prompt: both.prompt,
      answers: [await ask(worded.id), await ask(both.id)],
    };
    const started = performance.now();
    await ask(fromZip.id);
    await ask(made.id);
    const use = await maquette.storageUse();
    const adapters = await maquette.listAdapters();
    return {
      plan,
      kinds: [...new Set(events.map(({ kind }) => kind))].sort(),
      losses,
      before,
      after,
      none,
      again,
      underWords,
      board: board.rows.map(({ name, state, notes, score }) => ({ name, state, notes, mean: score?.mean })),
      run,
      targets: targets.map(({ format, bytes }) => ({ format, bytes })),
      ms: performance.now() - started,
      use,
      sameFiles: adapters.map(({ files }) => files.find(({ name }) => name.endsWith('.safetensors'))?.sha256),
    };
  }, modelId);
  expect(got.plan.checks.filter(({ ok }) => !ok).map(({ code }) => code)).toEqual(['fit/few-rows']);
  expect(got.plan.estimate.steps).toBe(24);
  expect(got.kinds).toEqual(['best', 'point', 'progress', 'sample', 'started']);
  expect(got.losses.length).toBe(24);
  expect(got.losses.at(-1)).toBeLessThan((got.losses[0] ?? 0) / 2);
  expect(got.none).toBe(got.before);
  expect(got.after).not.toBe(got.before);
  expect(got.again).toEqual([got.after, got.after]);
  expect(got.run?.status).toBe('done');
  expect(got.run?.curves.loss?.length).toBe(24);
  expect(got.board.map(({ state }) => state)).toContain('done');
  expect(got.board.find(({ name }) => name === 'Small add-on')?.notes).toContain('checkpoint chosen on these rows');
  expect(got.targets.map(({ format }) => format)).toEqual(['peft', 'gguf-lora', 'webllm']);
  expect(got.underWords.limits[0]).toContain('trained under words of its own');
  expect(got.underWords.prompt.system).toBe('Say it in two words.');
  expect(got.underWords.answers[1]).toBe(got.underWords.answers[0]);
  // PEFT tensors come back bit for bit, so the two adapters share a blob.
  expect(got.sameFiles.filter((sha256) => sha256 === got.sameFiles[0]).length).toBeGreaterThan(1);
});

test('a tab closed while it trains leaves a stopped run, its best kept', async ({ context, page }) => {
  await open(page);
  const modelId = await importModel(page);
  const taskId = await page.evaluate(async (id) => {
    const rows = Array.from({ length: 8 }, (_, i) => ({
      id: `row-${i}`,
      messages: [{ role: 'user' as const, content: `Number ${i}` }],
      targets: ['yes'],
    }));
    const shares = { train: 0.5, validation: 0.5, test: 0 };
    return (await maquette.createTask({ name: 'Long', type: 'other', metricId: 'exact-match', seed: 7, shares, modelId: id, rows })).id;
  }, modelId);
  await page.evaluate(
    (task) =>
      new Promise<void>((resolve, reject) => {
        const spec = {
          taskId: task,
          method: 'lora',
          config: { rank: 2, alpha: 4, epochs: 200, batch: 2, microBatch: 2, validations: 100, patience: 0 },
          prompt: { system: '', shots: [], cue: '', extract: 'whole' as const },
          name: 'Cut off',
          seed: 3,
          pinned: [],
        };
        let bests = 0;
        maquette
          .engine()
          .fit(spec, (event) => event.kind === 'best' && ++bests === 2 && resolve(), new AbortController().signal)
          .catch(reject);
      }),
    taskId,
  );
  await page.close();
  const later = await context.newPage();
  await open(later);
  const got = await later.evaluate(async (task) => {
    const board = await maquette.engine().board(task, 'validation');
    const [run] = await maquette.listRuns(task);
    return { rows: board.rows.map(({ name, bytesToShip }) => ({ name, bytesToShip })), run };
  }, taskId);
  expect(got.run?.status).toBe('stopped');
  expect(got.run?.checkpoint).toBeUndefined();
  expect(got.rows.map(({ name }) => name)).toEqual(['Cut off']);
  expect(got.rows[0]?.bytesToShip).toBeGreaterThan(1000);
});

test('while one tab trains, another is told so', async ({ context, page }) => {
  await open(page);
  const modelId = await importModel(page);
  const spec = await page.evaluate(async (id) => {
    const rows = Array.from({ length: 8 }, (_, i) => ({
      id: `row-${i}`,
      messages: [{ role: 'user' as const, content: `Number ${i}` }],
      targets: ['yes'],
    }));
    const shares = { train: 1, validation: 0, test: 0 };
    const task = await maquette.createTask({ name: 'Long', type: 'other', metricId: 'exact-match', seed: 7, shares, modelId: id, rows });
    const config = { rank: 2, alpha: 4, epochs: 200, batch: 2, microBatch: 2 };
    return {
      taskId: task.id,
      method: 'lora',
      config,
      prompt: { system: '', shots: [], cue: '', extract: 'whole' as const },
      name: 'Long',
      seed: 3,
      pinned: [],
    };
  }, modelId);
  const other = await context.newPage();
  await open(other);
  await other.evaluate((id) => maquette.engine().loadModel(id, () => undefined, new AbortController().signal), modelId);
  const first = page.evaluate(
    (wanted) =>
      new Promise<string>((resolve, reject) => {
        const stop = new AbortController();
        Object.assign(globalThis, { stopTraining: () => stop.abort() });
        maquette
          .engine()
          .fit(
            wanted,
            (event) => event.kind === 'progress' && event.step === 1 && Object.assign(globalThis, { training: true }),
            stop.signal,
          )
          .then(({ name }) => resolve(name), reject);
      }),
    spec,
  );
  await page.waitForFunction(() => 'training' in globalThis);
  const refused = await other.evaluate(
    (wanted) =>
      maquette
        .engine()
        .fit(wanted, () => undefined, new AbortController().signal)
        .then(
          () => 'started',
          (error: unknown) => (error instanceof Error && 'code' in error ? error.code : String(error)),
        ),
    spec,
  );
  expect(refused).toBe('engine/other-tab');
  await page.evaluate(() => {
    const stop: unknown = Reflect.get(globalThis, 'stopTraining');
    if (typeof stop === 'function') stop();
  });
  expect(await first).toBe('Long');
  const [run] = await page.evaluate((task) => maquette.listRuns(task), spec.taskId);
  expect(run?.status).toBe('stopped');
  expect(run?.contestantId).toBeDefined();
});

test('a chat template that never ends is ended, and the page stays free', async ({ page }) => {
  await open(page);
  const hostile = '{% for a in range(3000) %}{% for b in range(30000) %}{% endfor %}{% endfor %}x';
  const files = modelFiles(OWN).map((file) => {
    if (!file.path.endsWith('tokenizer_config.json')) return file;
    const config: object = JSON.parse(Buffer.from(file.base64, 'base64').toString());
    return { ...file, base64: Buffer.from(JSON.stringify({ ...config, chat_template: hostile })).toString('base64') };
  });
  await importModel(page, files);
  const got = await page.evaluate(async () => {
    let longest = 0;
    let last = performance.now();
    const timer = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 10);
    const request = {
      messages: [{ role: 'user' as const, content: 'Hi' }],
      strength: 1,
      temperature: 0,
      topK: 0,
      topP: 1,
      seed: 1,
      maxTokens: 4,
    };
    const ask = (): Promise<unknown> =>
      maquette
        .engine()
        .chat(request, () => undefined, new AbortController().signal)
        .then(
          () => 'answered',
          (error: unknown) => (error instanceof Error && 'code' in error ? error.code : String(error)),
        );
    const codes = [await ask(), await ask()];
    clearInterval(timer);
    return { codes, longest };
  });
  expect(got.codes).toEqual(['template/timeout', 'template/timeout']);
  expect(got.longest).toBeLessThan(500);
});

test('a lost GPU ends the calls, and a new worker takes over', async ({ browser, page }) => {
  await open(page);
  const modelId = await importModel(page);
  await page.evaluate(() => maquette.onEngineEvent((event) => Object.assign(globalThis, { lastEvent: event.kind })));
  const session = await browser.newBrowserCDPSession();
  await session.send('Browser.crashGpuProcess').catch(() => undefined); // it does not answer
  await page.waitForFunction(() => Reflect.get(globalThis, 'lastEvent') === 'restarted', undefined, { timeout: 20_000 });
  const text = await page.evaluate(async (id) => {
    const signal = new AbortController().signal;
    await maquette.engine().loadModel(id, () => undefined, signal);
    const request = {
      messages: [{ role: 'user' as const, content: 'Once' }],
      strength: 1,
      temperature: 0,
      topK: 0,
      topP: 1,
      seed: 1,
      maxTokens: 8,
    };
    return (await maquette.engine().chat(request, () => undefined, signal)).replyTokens;
  }, modelId);
  expect(text).toBeGreaterThan(0);
});

test('without WebGPU the device says why, and data still works', async () => {
  const executablePath = process.env.CHROME_PATH;
  const browser = await chromium.launch({
    args: ['--no-sandbox', '--disable-gpu', '--disable-features=WebGPU,WebGPUService'],
    ...(executablePath === undefined ? {} : { executablePath }),
  });
  const page = await browser.newPage();
  await open(page);
  const got = await page.evaluate(async () => {
    const api = maquette.engine();
    return { device: await api.device(), rows: (await api.importData('{"prompt":"a","completion":"b"}')).examples.length };
  });
  await browser.close();
  expect(got.device.available).toBe(false);
  expect(got.device.fix).toContain('Chrome');
  expect(got.rows).toBe(1);
});
