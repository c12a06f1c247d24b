import { engine } from '../../client/engine-client.ts';
import type { ColumnRole, Example, ImportFinding, ImportResult } from '../../data/types.ts';
import { AppError, asAppError } from '../../lib/error.ts';
import type { DatasetRecord } from '../../storage/types.ts';
import { bytes } from '../format.ts';

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
  #asked = 0;

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
  async setRole(column: number, role: ColumnRole): Promise<void> {
    this.roles = this.roles.map((r, i) => (i === column ? role : r));
    await this.#map();
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
  }
  /** What is kept of where the rows came from. */
  get source(): DatasetRecord['source'] {
    const read = this.result?.table?.rows.length ?? this.result?.examples.length ?? 0;
    return {
      read,
      leftOut: Math.max(0, read - this.examples.length),
      ...(this.fileName === undefined ? {} : { fileName: this.fileName }),
      ...(this.result?.table === undefined ? {} : { roles: this.roles }),
    };
  }

  async #read(content: () => Promise<string | Uint8Array>, fileName: string | undefined): Promise<void> {
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

export const importer = new ImporterState();
