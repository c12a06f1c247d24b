import { engine } from '../../client/engine-client.ts';
import type { ColumnRole, Example, ImportFinding, ImportResult, RawTable } from '../../data/types.ts';
import { AppError, asAppError } from '../../lib/error.ts';
import type { DatasetRecord } from '../../storage/types.ts';
import { bytes } from '../format.ts';

/** A table beyond so many characters is not kept beside the rows that are made of it. */
const LARGEST_TABLE = 1_000_000;
/** Rows of text beyond this are a mistake of the hand: a model dropped as data. */
const LARGEST = 200_000_000;
const MODEL_FILE = /\.(gguf|safetensors|bin|pt|pth|onnx)$/i;

/** A file or paste on its way in: read, its columns given roles, not stored yet. */
class ImporterState {
  /** The paste box. */
  text = $state('');
  fileName = $state.raw<string | undefined>();
  result = $state.raw<ImportResult | undefined>();
  roles = $state.raw<readonly ColumnRole[]>([]);
  /** The rows as the roles give them. */
  examples = $state.raw<readonly Example[]>([]);
  findings = $state.raw<readonly ImportFinding[]>([]);
  error = $state.raw<AppError | undefined>();
  busy = $state(false);
  /** Where they go: after the rows that are there, or in their place. */
  place = $state<'add' | 'replace'>('add');
  adding = $state(false);
  #asked = 0;
  /** What is being read, or given its roles, last. */
  #reading: Promise<void> = Promise.resolve();

  readPaste(): Promise<void> {
    return this.#read(() => Promise.resolve(this.text), undefined);
  }
  async readFile(file: File): Promise<void> {
    await this.#read(async () => {
      if (MODEL_FILE.test(file.name)) {
        throw new AppError('data/is-model', `${file.name} is a file of a model or an adapter, not of rows.`, {
          why: 'Rows are text: CSV, TSV, JSON, JSONL.',
          fix: 'Open it on the Models screen, or on Export if it is an adapter.',
        });
      }
      if (file.size > LARGEST) {
        throw new AppError('data/too-large', `${file.name} has ${bytes(file.size)}; rows are read up to ${bytes(LARGEST)}.`, {
          fix: 'Choose a part of it. A few hundred rows are enough for every method here.',
          facts: { bytes: file.size },
        });
      }
      return new Uint8Array(await file.arrayBuffer());
    }, file.name);
  }
  setRole(column: number, role: ColumnRole): Promise<void> {
    this.roles = this.roles.map((r, i) => (i === column ? role : r));
    this.error = undefined;
    this.#reading = this.#map().catch((error: unknown) => {
      this.error = asAppError(error);
    });
    return this.#reading;
  }
  /**
   * Hands the rows over, once however often it is asked for, and as the roles give them that were chosen last; what was read goes when they are kept.
   * Resolves with how many. Rejects as `keep`, and then nothing goes.
   */
  async add(
    keep: (rows: readonly Example[], source: DatasetRecord['source'], name: string, replace: boolean) => Promise<void>,
  ): Promise<number> {
    if (this.adding) return 0;
    this.adding = true;
    try {
      await this.#reading;
      const asked = this.#asked;
      const rows = this.examples;
      if (this.result === undefined || rows.length === 0) return 0;
      await keep(rows, this.source, this.fileName?.replace(/\.[^.]+$/, '') ?? 'My task', this.place === 'replace');
      if (asked === this.#asked) this.reset();
      return rows.length;
    } finally {
      this.adding = false;
    }
  }
  reset(): void {
    this.#asked += 1;
    this.text = '';
    this.fileName = undefined;
    this.result = undefined;
    this.roles = [];
    this.examples = [];
    this.findings = [];
    this.error = undefined;
    this.busy = false;
    this.place = 'add';
  }
  /** What is kept of where the rows came from. */
  get source(): DatasetRecord['source'] {
    const table = this.result?.table;
    const read = table?.rows.length ?? this.result?.examples.length ?? 0;
    return {
      read,
      leftOut: Math.max(0, read - this.examples.length),
      ...(this.fileName === undefined ? {} : { fileName: this.fileName }),
      ...(table === undefined ? {} : { roles: this.roles, ...(charactersOf(table) > LARGEST_TABLE ? {} : { table }) }),
    };
  }

  #read(content: () => Promise<string | Uint8Array>, fileName: string | undefined): Promise<void> {
    this.#reading = this.#readNow(content, fileName);
    return this.#reading;
  }
  async #readNow(content: () => Promise<string | Uint8Array>, fileName: string | undefined): Promise<void> {
    this.#asked += 1;
    const asked = this.#asked;
    this.busy = true;
    this.error = undefined;
    try {
      const result = await engine().importData(await content(), fileName);
      if (asked !== this.#asked) return;
      this.result = result;
      this.fileName = fileName;
      this.roles = result.roles ?? [];
      this.examples = result.examples;
      this.findings = result.findings;
      if (result.table !== undefined) await this.#map();
    } catch (error) {
      if (asked === this.#asked) {
        this.result = undefined;
        this.error = asAppError(error);
      }
    } finally {
      if (asked === this.#asked) this.busy = false;
    }
  }
  async #map(): Promise<void> {
    const table = this.result?.table;
    if (table === undefined) return;
    const roles = this.roles;
    const mapped = await engine().mapColumns(table, roles);
    if (roles !== this.roles) return;
    this.examples = mapped.examples;
    this.findings = [...(this.result?.findings ?? []), ...mapped.findings];
  }
}

const charactersOf = ({ rows }: RawTable) => rows.reduce((sum, cells) => cells.reduce((own, cell) => own + cell.length, sum), 0);

export const importer = new ImporterState();
